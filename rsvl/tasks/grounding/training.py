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


@dataclass
class GroundingBatch(Batch):
    """What `rsvl.modules.bases.grounding.VisualGrounder` takes; its forward pass says more.

    Images float [B, 3, S, S], tokens int64 [N, T], image_index int64 [N], boxes float [N, 4] as x1, y1, x2, y2 in 0…1
    (zeros without a target), has_target bool [N], and which images a SAR took, sar bool [B].
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
    """Draws `sentences` (image, sentence) pairs of each image with their boxes."""

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
        pairs = [(referring, text) for referring in _of_one_box(record) for text in referring.sentences]
        chosen = draw(pairs, self.sentences, self.seed, self.epoch, index)
        image = preprocess(read_record_image(record, self.spec), self.spec.image)
        boxes = [self._box(record, referring) for referring, _ in chosen]
        return GroundingBatch(
            images=torch.from_numpy(image)[None],
            tokens=torch.from_numpy(self.tokenizer([text for _, text in chosen])),
            image_index=torch.zeros(len(chosen), dtype=torch.int64),
            boxes=torch.tensor([box or (0.0, 0.0, 0.0, 0.0) for box in boxes], dtype=torch.float32),
            has_target=torch.tensor([box is not None for box in boxes]),
            sar=torch.tensor([record.sensor == "sar"]),
        )

    def _box(self, record: ImageRecord, referring: Referring) -> tuple[float, float, float, float] | None:
        """x1, y1, x2, y2 in 0…1 of the model's input, None for a no-target sentence."""
        box = self.dataset.box(record, referring)
        if box is None:
            return None
        x, y, width, height = box
        place = placement(record.height, record.width, self.spec.image)
        return tuple(place.to_square(np.array([x, y, x + width, y + height])).tolist())


def _of_one_box(record: ImageRecord) -> list[Referring]:
    """What to train on: a reference to several objects has no one box, and is taken only where there is no other."""
    single = [referring for referring in record.referrings if len(referring.boxes) < 2]
    if any(not referring.no_target for referring in single):
        return single
    return single + [replace(each, bbox=box) for each in record.referrings[:1] for box in each.boxes]


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
