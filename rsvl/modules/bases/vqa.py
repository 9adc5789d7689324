"""What models share that answer questions about an optical and a SAR image: graphs, a forward pass, the vocabulary."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rsvl.modules.bases.exportable import ExportableModel
from rsvl.runtime.manifest import GraphSpec, ImageSpec, TensorSpec

UNKNOWN = -1
"""The index of an answer that is not in the vocabulary: nothing is learned from its question."""


class QuestionAnswerer(ExportableModel, ABC):
    """A model that answers questions about a place seen by two sensors, in four graphs: optical, sar, text, head.

    The answers are those of `spec.answers`, in the order of the logits. They come from the preset until training sets
    those of its data (`set_answers`); they are saved beside the weights and set again when those are loaded.

    Attributes:
        sensor_drop: how likely training hides one of the two sensors from a question.
    """

    from_data: ClassVar[tuple[str, ...]] = ("answers",)
    sensor_drop: float = 0.0

    @abstractmethod
    def encode_optical(self, optical: Tensor) -> tuple[Tensor, ...]:
        """Encodes optical images float [B, 3, S, S] into the outputs of the `optical` graph."""

    @abstractmethod
    def encode_sar(self, sar: Tensor) -> tuple[Tensor, ...]:
        """Encodes SAR images float [B, 1, S, S] into the outputs of the `sar` graph."""

    @abstractmethod
    def encode_text(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """Encodes questions int64 [N, T] into the outputs of the `text` graph."""

    @abstractmethod
    def head(self, *features: Tensor) -> tuple[Tensor]:
        """Answers: the features of both images and of the question, then `sensors` [N, 2] → logits float [N, A]."""

    @abstractmethod
    def answer_layers(self) -> Sequence[nn.Linear]:
        """The layers whose outputs are one logit an answer."""

    def forward(
        self,
        optical: Tensor,
        sar: Tensor,
        sensors: Tensor,
        tokens: Tensor,
        image_index: Tensor | None = None,
        answers: Tensor | None = None,
        class_tokens: Tensor | None = None,
        class_masks: Tensor | None = None,
        asked_masks: Tensor | None = None,
    ) -> Tensor:
        """Answers, or, given the true answers, computes the training loss.

        Args:
            optical: float [B, 3, S, S], normalised; anything where it is missing.
            sar: float [B, 1, S, S], likewise.
            sensors: float [B, 2], 1 where the optical and the SAR image is present and 0 where it is missing.
            tokens: int64 [N, T].
            image_index: int64 [N], each question's place; by default question i is about place i. Every image is
                encoded once however many questions there are about it.
            answers: int64 [N], each question's answer in `spec.answers`, or `UNKNOWN`.
            class_tokens: int64 [K, T], the names of K classes, for the auxiliary loss; K may be 0.
            class_masks: float [B, K, h, w] in 0…1, where objects of each class are.
            asked_masks: float [N, h, w] in 0…1, where the objects are that a question is about; zeros where not known.

        Returns:
            Answer logits float [N, A]; with `answers`, the scalar loss.
        """
        if image_index is None:
            image_index = torch.arange(tokens.shape[0], device=tokens.device)
        count = tokens.shape[0]
        if class_tokens is not None:
            tokens = torch.cat([tokens, class_tokens])
        views, text = (self.encode_optical(optical), self.encode_sar(sar)), self.encode_text(tokens)
        images = [feature.index_select(0, image_index) for view in views for feature in view]
        seen = sensors.index_select(0, image_index)
        asked = [feature[:count] for feature in text]
        if answers is None:
            return self.head(*images, *asked, seen)[0]
        seen = self._hide_some(seen) if self.training else seen
        loss = self.loss(answers, asked_masks, *images, *asked, seen)
        if class_masks is None or class_masks.shape[1] == 0:
            return loss
        return loss + self.auxiliary_loss(views, tuple(feature[count:] for feature in text), sensors, class_masks)

    def loss(self, answers: Tensor, asked_masks: Tensor | None, *features: Tensor) -> Tensor:
        """Mean cross-entropy of the true answers int64 [N]; `features` are what `head` takes.

        `asked_masks` float [N, h, w], see `forward`, are for models that say where they look.
        """
        return cross_entropy(self.head(*features)[0], answers)

    def auxiliary_loss(
        self,
        views: tuple[tuple[Tensor, ...], tuple[Tensor, ...]],
        names: tuple[Tensor, ...],
        sensors: Tensor,
        class_masks: Tensor,
    ) -> Tensor:
        """What training adds where the data says where each class is; nothing unless a model overrides it.

        Args:
            views: the features of B optical and of B SAR images.
            names: the text graph's features of K class names.
            sensors: float [B, 2].
            class_masks: float [B, K, h, w] in 0…1.
        """
        return class_masks.new_zeros(())

    def set_answers(self, answers: Iterable[str]) -> None:
        """Gives the model another vocabulary; what it learned of answers that stay in it is kept.

        Args:
            answers: the texts, in the order of the logits from now on.
        """
        answers, known = tuple(answers), {text: index for index, text in enumerate(self.spec.answers)}
        if answers == self.spec.answers:
            return
        kept = [(new, known[text]) for new, text in enumerate(answers) if text in known]
        for layer in self.answer_layers():
            _choose_rows(layer, len(answers), kept)
        *encoders, head = self.spec.graphs
        logits = replace(head.outputs[0], shape=("batch", len(answers)))
        self.spec = replace(self.spec, answers=answers, graphs=(*encoders, replace(head, outputs=(logits,))))

    def extra_state(self) -> dict[str, str]:
        """See `ExportableModel`; and the answers, which come from the training data."""
        return {**super().extra_state(), "answers": json.dumps(self.spec.answers)}

    def load_extra_state(self, extra: Mapping[str, str]) -> None:
        """See `ExportableModel`."""
        super().load_extra_state(extra)
        if "answers" in extra:
            self.set_answers(json.loads(extra["answers"]))

    def _hide_some(self, sensors: Tensor) -> Tensor:
        """Sensors [N, 2] with one of the two hidden in a share `sensor_drop` of those that have both."""
        count = sensors.shape[0]
        hidden = F.one_hot(torch.randint(2, (count,), device=sensors.device), 2).to(sensors.dtype)
        chosen = torch.rand(count, device=sensors.device) < self.sensor_drop
        return sensors - hidden * (chosen & (sensors.amin(1) > 0.5))[:, None]


def vqa_graphs(
    images: tuple[ImageSpec, ImageSpec],
    tokens: int,
    optical_features: Sequence[TensorSpec],
    sar_features: Sequence[TensorSpec],
    text_features: Sequence[TensorSpec],
    answers: int,
) -> tuple[GraphSpec, ...]:
    """The graphs of a model that answers questions, from the features that its encoders give."""

    def pixels(spec: ImageSpec) -> TensorSpec:
        return TensorSpec(spec.name, ("batch", spec.channels, spec.size, spec.size))

    ids, sensors = TensorSpec("tokens", ("batch", tokens), "int64"), TensorSpec("sensors", ("batch", 2))
    logits = TensorSpec("answer_logits", ("batch", answers))
    return (
        GraphSpec("optical", (pixels(images[0]),), tuple(optical_features)),
        GraphSpec("sar", (pixels(images[1]),), tuple(sar_features)),
        GraphSpec("text", (ids,), tuple(text_features)),
        GraphSpec("head", (*optical_features, *sar_features, *text_features, sensors), (logits,)),
    )


def cross_entropy(logits: Tensor, answers: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean cross-entropy over the questions whose answer is known; 0 where none is.

    Args:
        logits: float [N, A].
        answers: int64 [N], an index or `UNKNOWN`.
        weight: float [N], how much each question counts; by default all count alike.
    """
    losses = F.cross_entropy(logits.float(), answers, ignore_index=UNKNOWN, reduction="none")
    counted = (answers != UNKNOWN).float() if weight is None else (answers != UNKNOWN) * weight.float()
    return (losses * counted).sum() / counted.sum().clamp(min=1)


def _choose_rows(layer: nn.Linear, count: int, kept: Sequence[tuple[int, int]]) -> None:
    """Gives a linear layer `count` outputs: for each (new, old) the old one's weights, fresh ones for the others."""
    fresh = nn.Linear(layer.in_features, count, device=layer.weight.device, dtype=layer.weight.dtype)
    with torch.no_grad():
        for new, old in kept:
            fresh.weight[new], fresh.bias[new] = layer.weight[old], layer.bias[old]
    layer.out_features, layer.weight, layer.bias = count, fresh.weight, fresh.bias
