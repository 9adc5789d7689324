"""What scene classifiers share: one graph, a forward pass with its loss, and the class names."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rsvl.modules.bases.exportable import ExportableModel
from rsvl.runtime.errors import CheckpointError, UsageError
from rsvl.runtime.manifest import CLASSIFICATION, GraphSpec, ImageSpec, ModelSpec, TensorSpec

#: Mean and standard deviation of EuroSAT's RGB images, of each channel, 0…1.
EUROSAT_MEAN, EUROSAT_STD = (0.344, 0.380, 0.408), (0.203, 0.137, 0.116)


class ClassificationModel(ExportableModel, ABC):
    """A model that tells which of its classes an image shows, in one graph, image.

    A subclass sets `spec`, by `classification_spec`, and implements `encode_image` and `class_layer`.
    The class names (`spec.classes`) come from the data in training; they are saved beside the weights, with the
    temperature of the probabilities, and set again when those are loaded. A published checkpoint has none: its classes
    are numbered until somebody names them (`name_classes`).

    Attributes:
        label_smoothing: share of a label that training spreads over all classes.
        balance: β of the class-balanced loss (Cui et al., 2019): 0 weighs all images alike, and towards 1 all classes.
    """

    label_smoothing: float = 0.05
    balance: float = 0.999
    class_weights: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("class_weights", None, persistent=False)

    @abstractmethod
    def encode_image(self, image: Tensor) -> tuple[Tensor]:
        """Images float [B, 3, S, S] to the logits float [B, C], which are not probabilities yet."""

    @abstractmethod
    def class_layer(self) -> tuple[str, nn.Linear | nn.Conv2d]:
        """The layer whose outputs are the logits, and its name in the model's state dict."""

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Classifies, or, given the true classes, computes the training loss.

        Args:
            images: float [B, 3, S, S], normalised.
            labels: int64 [B], indices into `spec.classes`.

        Returns:
            Logits float [B, C]; with `labels`, the scalar loss.
        """
        (logits,) = self.encode_image(images)
        return logits if labels is None else self.loss(logits, labels)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy with label smoothing and class weights, float32.

        Args:
            logits: float [B, C].
            labels: int64 [B].
        """
        return F.cross_entropy(logits.float(), labels, self.class_weights, label_smoothing=self.label_smoothing)

    def balance_classes(self, counts: Sequence[int]) -> None:
        """Weighs the loss by the effective numbers of images, (1 - β) / (1 - βⁿ), with a mean of 1 (Cui et al., 2019).

        Args:
            counts: training images of each class, in the order of `spec.classes`; a class of none weighs nothing.
        """
        weights = torch.tensor([(1 - self.balance) / (1 - self.balance**n) if n else 0.0 for n in counts])
        self.class_weights = (weights / weights[weights > 0].mean()).to(next(self.parameters()).device)

    def set_classes(self, classes: Iterable[str]) -> None:
        """Gives the model other classes; what it learned of those whose names stay is kept.

        Args:
            classes: the names, in the order of the logits from now on.
        """
        classes, known = tuple(classes), {name: index for index, name in enumerate(self.spec.classes)}
        if classes == self.spec.classes:
            return
        kept = [(new, known[name]) for new, name in enumerate(classes) if name in known]
        _choose_outputs(self.class_layer()[1], len(classes), kept)
        self._declare(len(classes), classes)

    def name_classes(self, classes: Sequence[str]) -> None:
        """Gives the classes names; the weights stay.

        Raises:
            UsageError: not as many names as classes, an empty one, or one twice.
        """
        count = _outputs(self.class_layer()[1])
        if len(classes) != count:
            raise UsageError(
                f"{len(classes)} class names for the {count} classes of {self.spec.name}: name each of them"
            )
        if len(set(classes)) != count or not all(name.strip() for name in classes):
            raise UsageError("a class name is empty or there twice: give each class its own")
        self._declare(count, tuple(classes))

    def set_temperature(self, temperature: float) -> None:
        """Sets what the logits are divided by before they become probabilities, above 0."""
        self.spec = replace(self.spec, temperature=temperature)

    def extra_state(self) -> dict[str, str]:
        """The class names and the temperature, which come from the data."""
        return {"classes": json.dumps(self.spec.classes), "temperature": repr(self.spec.temperature)}

    def load_extra_state(self, extra: Mapping[str, str]) -> None:
        """Sets the class names and the temperature that were saved with the weights.

        Raises:
            ValueError: they are damaged.
        """
        temperature = float(extra.get("temperature", 1.0))
        if not 0 < temperature < math.inf:
            raise ValueError(f"a temperature of {temperature}")
        if "classes" in extra:
            classes = json.loads(extra["classes"])
            if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
                raise ValueError("classes that are no names")
            if classes:
                self.set_classes(classes)
        self.set_temperature(temperature)

    @contextmanager
    def resized(self, state: Mapping[str, Tensor]) -> Iterator[None]:
        """Takes a checkpoint's number of classes."""
        name, layer = self.class_layer()
        weight, before = state.get(f"{name}.weight"), self.spec
        if weight is None or weight.ndim < 2 or len(weight) == _outputs(layer):
            yield
            return
        kept = (layer.weight, layer.bias)
        _choose_outputs(layer, len(weight), ())
        self._declare(len(weight), ())
        try:
            yield
        except CheckpointError:
            layer.weight, layer.bias = kept
            _set_outputs(layer, len(kept[0]))
            self.spec = before
            raise

    def _declare(self, count: int, classes: tuple[str, ...]) -> None:
        (graph,) = self.spec.graphs
        logits = replace(graph.outputs[0], shape=("batch", count))
        self.spec = replace(self.spec, classes=classes, graphs=(replace(graph, outputs=(logits,)),))
        self.class_weights = None


def classification_spec(name: str, paper: str, image: ImageSpec, classes: int) -> ModelSpec:
    """What a scene classifier takes and gives: one graph, from such images to the logits of so many classes."""
    pixels = TensorSpec(image.name, ("batch", image.channels, image.size, image.size))
    graph = GraphSpec("image", (pixels,), (TensorSpec("logits", ("batch", classes)),))
    return ModelSpec(name=name, task=CLASSIFICATION, paper=paper, images=(image,), text=None, graphs=(graph,))


def _outputs(layer: nn.Linear | nn.Conv2d) -> int:
    return layer.weight.shape[0]


def _set_outputs(layer: nn.Linear | nn.Conv2d, count: int) -> None:
    setattr(layer, "out_features" if isinstance(layer, nn.Linear) else "out_channels", count)


def _choose_outputs(layer: nn.Linear | nn.Conv2d, count: int, kept: Sequence[tuple[int, int]]) -> None:
    """Gives a layer `count` outputs: for each (new, old) the old one's weights, fresh ones for the others."""
    old_weight, old_bias = layer.weight, layer.bias
    weight = torch.empty(count, *old_weight.shape[1:], device=old_weight.device, dtype=old_weight.dtype)
    bias = None if old_bias is None else old_bias.new_empty(count)
    layer.weight, layer.bias = nn.Parameter(weight), None if bias is None else nn.Parameter(bias)
    _set_outputs(layer, count)
    layer.reset_parameters()
    with torch.no_grad():
        for new, old in kept:
            layer.weight[new] = old_weight[old]
            if layer.bias is not None and old_bias is not None:
                layer.bias[new] = old_bias[old]
