"""Visual question answering in PyTorch: images of a place, some of its questions and answers; and a model to ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from rsvl.data.class_masks import class_masks, object_mask
from rsvl.data.records import QuestionDataset
from rsvl.modules.bases.vqa import UNKNOWN
from rsvl.runtime.images.preprocess import preprocess
from rsvl.runtime.images.reading import read_image
from rsvl.runtime.manifest import ImageSpec, ModelSpec
from rsvl.runtime.tasks.tokenizer import Tokenizer
from rsvl.runtime.tasks.vqa import ORDER
from rsvl.tasks.batch import Batch, TrainingSet, draw
from rsvl.tasks.vqa.evaluation import Predict

_MASK_SIZE = 64
"""Side of the classes' masks: finer than the places that any model here tells apart."""


@dataclass
class VQABatch(Batch):
    """What `rsvl.modules.bases.vqa.QuestionAnswerer` takes; its forward pass says more.

    Optical float [B, 3, S, S] and SAR float [B, 1, S, S], zeros where missing; sensors float [B, 2], 1 where each is
    present; tokens int64 [N, T], image_index int64 [N], answers int64 [N], `UNKNOWN` outside the vocabulary. Of the K
    classes of objects that the dataset outlines, if any, their names, class_tokens int64 [K, T], and where they are,
    class_masks float [B, K, h, w]. Where it says which objects a question is about, asked_masks float [N, h, w]; zeros
    elsewhere.
    """

    image_fields: ClassVar[tuple[str, ...]] = ORDER
    shared: ClassVar[tuple[str, ...]] = ("class_tokens",)

    optical: Tensor
    sar: Tensor
    sensors: Tensor
    tokens: Tensor
    image_index: Tensor
    answers: Tensor
    asked_masks: Tensor
    class_tokens: Tensor
    class_masks: Tensor


def training_set(model: Any, dataset: QuestionDataset, sentences: int, seed: int) -> TrainingSet:
    """See `rsvl.tasks.contract.Training`; the model answers in the dataset's answers from now on."""
    model.set_answers(dataset.answers)
    tokenizer = Tokenizer.from_file(model.tokenizer_json(), model.spec.words)
    return VQASampler(dataset, model.spec, tokenizer, sentences, seed)


class VQASampler(TrainingSet):
    """Draws `questions` of each place, which count once an epoch."""

    def __init__(
        self, dataset: QuestionDataset, spec: ModelSpec, tokenizer: Tokenizer, questions: int, seed: int
    ) -> None:
        self.dataset, self.spec, self.tokenizer = dataset, spec, tokenizer
        self.count, self.seed = questions, seed
        self.index = {answer: index for index, answer in enumerate(spec.answers)}
        self.classes = dataset.categories
        names = tokenizer(self.classes) if self.classes else np.zeros((0, spec.words.tokens), np.int64)
        self.class_tokens = torch.from_numpy(names)

    def __len__(self) -> int:
        """The number of places."""
        return len(self.dataset)

    def __getitem__(self, index: int) -> VQABatch:
        """A batch of one place."""
        record = self.dataset[index]
        chosen = draw(record.questions, self.count, self.seed, self.epoch, index)
        optical, sar = _images(self.spec, record.optical, record.sar)
        objects, size = record.objects or (), (record.width, record.height, _MASK_SIZE)
        asked = [object_mask([objects[i] for i in question.objects], *size) for question in chosen]
        present = [[record.optical is not None, record.sar is not None]]
        return VQABatch(
            optical=optical,
            sar=sar,
            sensors=torch.tensor(present, dtype=torch.float32),
            tokens=torch.from_numpy(self.tokenizer([question.text for question in chosen])),
            image_index=torch.zeros(len(chosen), dtype=torch.int64),
            answers=torch.tensor([self.index.get(question.answer, UNKNOWN) for question in chosen]),
            asked_masks=torch.from_numpy(np.stack(asked)),
            class_tokens=self.class_tokens,
            class_masks=torch.from_numpy(class_masks(objects, self.classes, *size))[None],
        )


def torch_predictor(model: Any) -> Predict:
    """Wraps a question answerer as something to evaluate; puts it into evaluation mode.

    Args:
        model: a `QuestionAnswerer`; it runs on the device that holds its parameters.
    """
    model.eval()
    spec = model.spec
    device = next(model.parameters()).device
    tokenize = Tokenizer.from_file(model.tokenizer_json(), spec.words)

    @torch.inference_mode()
    def predict(optical: Path | None, sar: Path | None, questions: Sequence[str]) -> list[str]:
        sensors = torch.tensor([[optical is not None, sar is not None]], dtype=torch.float32)
        tokens = torch.from_numpy(tokenize(questions)).to(device)
        image_index = torch.zeros(len(questions), dtype=torch.long, device=device)
        images = (image.to(device) for image in _images(spec, optical, sar))
        logits = model(*images, sensors.to(device), tokens, image_index)
        return [spec.answers[index] for index in logits.argmax(1).tolist()]

    return predict


def _images(spec: ModelSpec, *paths: Path | None) -> list[Tensor]:
    """The model's images [1, C, S, S], in the order of its declaration; zeros for a missing one."""
    return [_image(path, image) for path, image in zip(paths, spec.images, strict=True)]


def _image(path: Path | None, image: ImageSpec) -> Tensor:
    if path is None:
        return torch.zeros(1, image.channels, image.size, image.size)
    return torch.from_numpy(np.ascontiguousarray(preprocess(read_image(path, image), image)))[None]
