"""Object counting in PyTorch: images and how many objects they show; and a model to ask."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rsvl.data.records import ClassificationDataset
from rsvl.runtime.images.preprocess import preprocess
from rsvl.runtime.images.reading import read_image
from rsvl.runtime.manifest import ImageSpec
from rsvl.tasks.batch import Batch, TrainingSet
from rsvl.tasks.counting.evaluation import Predict


@dataclass
class CountingBatch(Batch):
    """Images float [B, 3, S, S] and their counts float [B]."""

    images: Tensor
    counts: Tensor


def training_set(model: Any, dataset: ClassificationDataset, sentences: int, seed: int) -> TrainingSet:
    """See `rsvl.tasks.contract.Training`; there are no sentences."""
    return CountingSampler(dataset, model.spec.image)


class CountingSampler(TrainingSet):
    """Each image with its count."""

    def __init__(self, dataset: ClassificationDataset, spec: ImageSpec) -> None:
        self.dataset, self.spec = dataset, spec

    def __len__(self) -> int:
        """The number of images."""
        return len(self.dataset)

    def __getitem__(self, index: int) -> CountingBatch:
        """A batch of one image."""
        record = self.dataset[index]
        return CountingBatch(_pixels(record.path, self.spec), torch.tensor([float(record.label)]))


def torch_predictor(model: Any) -> Predict:
    """Wraps a PyTorch model; puts it into evaluation mode."""
    model.eval()

    @torch.inference_mode()
    def predict(path: Path) -> int:
        return round(float(model(_pixels(path, model.spec.image))))

    return predict


def _pixels(path: Path, spec: ImageSpec) -> Tensor:
    return torch.from_numpy(preprocess(read_image(path, spec), spec))[None]
