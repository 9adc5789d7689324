"""Visual grounding in PyTorch: images, some of their sentences, the boxes they name; and a model to ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rsvl.data.records import ImageRecord, Referring, ReferringDataset
from rsvl.runtime.images.letterbox import placement
from rsvl.runtime.images.preprocess import preprocess
from rsvl.runtime.manifest import ModelSpec
from rsvl.runtime.tasks.tokenizer import Tokenizer
from rsvl.tasks.batch import Batch, TrainingSet, draw
from rsvl.tasks.grounding.evaluation import Predict
from rsvl.tasks.sentences import read_record_image

_VIEW = 1
"""Random stream of the views; that of the sentences has none."""

MOST_BOXES = 64
"""Boxes that a sentence can have in a batch; one that names more objects is not trained on."""


@dataclass
class GroundingBatch(Batch):
    """What `rsvl.modules.bases.grounding.VisualGrounder` takes; its forward pass says more.

    Images float [B, 3, S, S], tokens int64 [N, T], image_index int64 [N], boxes float [N, MOST_BOXES, 4] as x1, y1, x2,
    y2 in 0…1, then zeros, has_target bool [N, MOST_BOXES] which of them there are, and which images a SAR took, sar
    bool [B].
    """

    images: Tensor
    tokens: Tensor
    image_index: Tensor
    boxes: Tensor
    has_target: Tensor
    sar: Tensor


def training_set(model: Any, dataset: ReferringDataset, sentences: int, seed: int) -> TrainingSet:
    """See `rsvl.tasks.contract.Training`."""
    tokenizer = Tokenizer.from_file(model.tokenizer_json(), model.spec.words)
    return GroundingSampler(dataset, model.spec, tokenizer, sentences, seed)


class GroundingSampler(TrainingSet):
    """Draws `sentences` (image, sentence) pairs of each image with their boxes, half of them of several objects."""

    def __init__(
        self, dataset: ReferringDataset, spec: ModelSpec, tokenizer: Tokenizer, sentences: int, seed: int
    ) -> None:
        self.dataset, self.spec, self.tokenizer = dataset, spec, tokenizer
        self.sentences, self.seed = sentences, seed

    def __len__(self) -> int:
        """The number of images."""
        return len(self.dataset)

    def __getitem__(self, index: int) -> GroundingBatch:
        """A batch of one image."""
        record = self.dataset.varied(index, np.random.default_rng((self.seed, self.epoch, index, _VIEW)))
        chosen = self._drawn(record, index)
        image = preprocess(read_record_image(record, self.spec), self.spec.image)
        boxes = torch.zeros(len(chosen), MOST_BOXES, 4)
        has_target = torch.zeros(len(chosen), MOST_BOXES, dtype=torch.bool)
        for row, (referring, _) in enumerate(chosen):
            found = self._boxes(record, referring)
            boxes[row, : len(found)], has_target[row, : len(found)] = torch.from_numpy(found), True
        return GroundingBatch(
            images=torch.from_numpy(image)[None],
            tokens=torch.from_numpy(self.tokenizer([text for _, text in chosen])),
            image_index=torch.zeros(len(chosen), dtype=torch.int64),
            boxes=boxes,
            has_target=has_target,
            sar=torch.tensor([record.sensor == "sar"]),
        )

    def _drawn(self, record: ImageRecord, index: int) -> list[tuple[Referring, str]]:
        """References and their sentences; as many of several objects as of one or none, where there are both."""
        known = [each for each in record.referrings if len(each.boxes) <= MOST_BOXES]
        pairs = [(each, text) for each in known or _cut(record) for text in each.sentences]
        many = [pair for pair in pairs if len(pair[0].boxes) > 1]
        few = [pair for pair in pairs if len(pair[0].boxes) < 2]
        count = (self.sentences if not few else self.sentences // 2) if many else 0
        return [
            *draw(many, count, self.seed, self.epoch, index),
            *draw(few, self.sentences - count, self.seed, self.epoch, index),
        ]

    def _boxes(self, record: ImageRecord, referring: Referring) -> np.ndarray:
        """All boxes that a sentence names, float32 [K, 4] as x1, y1, x2, y2 in 0…1 of the model's input."""
        only = self.dataset.box(record, referring)
        boxes = referring.boxes or (() if only is None else (only,))
        corners = np.array([(x, y, x + width, y + height) for x, y, width, height in boxes], np.float64).reshape(-1, 4)
        return placement(record.height, record.width, self.spec.image).to_square(corners).astype(np.float32)


def _cut(record: ImageRecord) -> list[Referring]:
    """The references of an image that has none but of too many objects, with as many of these as there can be."""
    return [replace(each, boxes=each.boxes[:MOST_BOXES]) for each in record.referrings]


def torch_predictor(model: Any) -> Predict:
    """Wraps a grounding model as something to evaluate; puts it into evaluation mode.

    The image is encoded once for all its sentences; each gets its best candidate.

    Args:
        model: a `VisualGrounder`; it runs on the device that holds its parameters.
    """
    model.eval()
    spec = model.spec
    device = next(model.parameters()).device
    tokenize = Tokenizer.from_file(model.tokenizer_json(), spec.words)

    @torch.inference_mode()
    def predict(record: ImageRecord, sentences: Sequence[str]) -> np.ndarray:
        pixels = torch.from_numpy(preprocess(read_record_image(record, spec), spec.image))[None].to(device)
        tokens = torch.from_numpy(tokenize(sentences)).to(device)
        image_index = torch.zeros(len(sentences), dtype=torch.long, device=device)
        scores, boxes = model(pixels, tokens, image_index)
        best = boxes[torch.arange(len(sentences), device=device), scores.argmax(1)].float().cpu().numpy()
        return placement(record.height, record.width, spec.image).to_image(best)

    return predict
