"""Scene classification in PyTorch: images and their classes; and a model to ask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from rsvl.data.records import ClassificationDataset
from rsvl.metrics.calibration import fit_temperature
from rsvl.runtime.images.options import ReadOptions
from rsvl.runtime.images.preprocess import fit, normalise, preprocess
from rsvl.runtime.images.reading import read_image
from rsvl.runtime.manifest import ImageSpec
from rsvl.runtime.tasks.classification import calibrated, unnamed
from rsvl.tasks.batch import Batch, TrainingSet
from rsvl.tasks.classification.augmentation import augment
from rsvl.tasks.classification.evaluation import Predict, check_known, one_colour_is_usual

_KEPT_BYTES = 2 << 30
"""Up to so much decoded images are kept in memory: decoding them anew in each epoch would take longer than training."""
_BATCH = 256


@dataclass
class ClassificationBatch(Batch):
    """What a scene classifier takes: images float [B, 3, S, S] and labels int64 [B], indices of its classes."""

    images: Tensor
    labels: Tensor


def training_set(model: Any, dataset: ClassificationDataset, sentences: int, seed: int) -> TrainingSet:
    """See `rsvl.tasks.contract.Training`; there are no sentences, and nothing is drawn.

    The model tells the dataset's classes from now on, and weighs them by how many images each has.
    """
    model.set_classes(dataset.classes)
    counts = Counter(record.label for record in dataset)
    model.balance_classes([counts[name] for name in dataset.classes])
    return ClassificationSampler(dataset, model.spec.image)


class ClassificationSampler(TrainingSet):
    """Each image with its class; kept decoded in the model's size where memory allows."""

    can_augment: ClassVar[bool] = True

    def __init__(self, dataset: ClassificationDataset, spec: ImageSpec) -> None:
        """Decodes the images, unless they are too many.

        Raises:
            InputError: an image that cannot be read.
        """
        self.dataset, self.spec = dataset, spec
        self.labels = [dataset.classes.index(record.label) for record in dataset]
        self._kept: np.ndarray | None = None
        if len(dataset) * spec.size**2 * spec.channels <= _KEPT_BYTES:
            with one_colour_is_usual():
                self._kept = np.stack([self._read(index) for index in range(len(dataset))])

    def __len__(self) -> int:
        """The number of images."""
        return len(self.dataset)

    def __getitem__(self, index: int) -> ClassificationBatch:
        """A batch of one image."""
        pixels = self._read(index) if self._kept is None else self._kept[index]
        image = torch.from_numpy(normalise(pixels, self.spec))[None]
        return ClassificationBatch(image, torch.tensor([self.labels[index]]))

    def augmented(self, batch: ClassificationBatch, generator: torch.Generator) -> ClassificationBatch:
        """See `rsvl.tasks.batch.TrainingSet`."""
        return replace(batch, images=augment(batch.images, generator))

    def _read(self, index: int) -> np.ndarray:
        return fit(_image(self.dataset[index].path, self.spec), self.spec)


def torch_predictor(model: Any) -> Predict:
    """Wraps a scene classifier as something to evaluate; puts it into evaluation mode.

    Args:
        model: a `ClassificationModel`; it runs on the device that holds its parameters.
    """
    model.eval()
    return _TorchPredictor(model)


class _TorchPredictor:
    """See `rsvl.tasks.classification.evaluation.Predict`."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.classes = model.spec.classes or unnamed(model.spec.final_outputs["logits"].shape[-1])

    def __call__(self, images: Sequence[Path]) -> np.ndarray:
        return calibrated(_logits(self._model, images), self._model.spec.temperature)


def calibrate(model: Any, datasets: Sequence[ClassificationDataset]) -> None:
    """Fits the temperature of a model's probabilities to images that it has not learned from."""
    for dataset in datasets:
        check_known(dataset, model.spec.classes)
    records = [record for dataset in datasets for record in dataset]
    model.eval()
    with one_colour_is_usual():
        parts = [records[start : start + _BATCH] for start in range(0, len(records), _BATCH)]
        logits = [_logits(model, [record.path for record in part]) for part in parts]
    labels = [model.spec.classes.index(record.label) for record in records]
    model.set_temperature(round(fit_temperature(np.concatenate(logits), np.array(labels)), 4) if labels else 1.0)


@torch.inference_mode()
def _logits(model: Any, images: Sequence[Path]) -> np.ndarray:
    """float32 [N, C] of the images in the files."""
    spec = model.spec.image
    pixels = torch.from_numpy(np.stack([preprocess(_image(path, spec), spec) for path in images]))
    device = next(model.parameters()).device
    return model(pixels.to(device, memory_format=torch.channels_last)).float().cpu().numpy()


def _image(path: Path, spec: ImageSpec) -> np.ndarray:
    return read_image(path, spec, ReadOptions(sensor=spec.sensors[0]))
