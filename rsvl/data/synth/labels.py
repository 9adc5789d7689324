"""What a task does with scenes: images of each, made in any process, and tables of all, made at the end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np

from rsvl.data.synth.look import LOOKS, photographed

_QUALITY = 92
_LOOK = 6  # random stream
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Job:
    """One scene to make: its seed is (seed, index).

    Attributes:
        folder: where the dataset grows.
        seed: of the dataset.
        index: the scene's number in the dataset.
        split: the scene's split.
        size: side of the images, pixels.
        sensor: what the images show: ``optical``, ``sar`` or ``both``.
        look: how optical images look, of `rsvl.data.synth.look.LOOKS`.
    """

    folder: Path
    seed: int
    index: int
    split: str
    size: int
    sensor: str
    look: str = LOOKS[0]

    @property
    def optical(self) -> bool:
        """Whether optical images are wanted."""
        return self.sensor != "sar"

    @property
    def sar(self) -> bool:
        """Whether SAR images are wanted."""
        return self.sensor != "optical"

    def rng(self, stream: int) -> np.random.Generator:
        """Randomness for what is not in the scene itself; different for each `stream` above 0, and from the SAR's."""
        return np.random.default_rng((self.size, self.seed, self.index, stream))

    def write_optical(self, path: Path, image: np.ndarray) -> None:
        """Write the scene's optical image, uint8 [H, W, 3] RGB, in the job's look."""
        if self.look == "photo":
            write_jpeg(path, *photographed(self.rng(_LOOK), image))
        else:
            write_jpeg(path, image)


class Labels(ABC):
    """The labels of a dataset in the making.

    Attributes:
        sensors: what images the task knows, its default first.
        unit: what is counted, such as ``expressions``.
        counts: how many of them by split.
        objects: number of labelled objects.
    """

    sensors: ClassVar[tuple[str, ...]]
    unit: ClassVar[str]

    def __init__(self, seed: int, size: int, sensor: str) -> None:
        """Begin a dataset of square images of `size` pixels, made from a seed."""
        self.seed, self.size, self.sensor = seed, size, sensor
        self.counts = Counter(dict.fromkeys(SPLITS, 0))
        self.objects = 0

    @property
    @abstractmethod
    def folders(self) -> tuple[Path, ...]:
        """The folders that `make` writes into, relative to the dataset's."""

    @staticmethod
    @abstractmethod
    def make(job: Job) -> Any:
        """Write a scene's images; return its labels as plain data. Runs in any process."""

    @abstractmethod
    def add(self, made: Any, split: str) -> None:
        """Take a scene's labels; scenes come in order."""

    @abstractmethod
    def finish(self, folder: Path) -> None:
        """Write the tables, when all scenes are there."""


def write_jpeg(path: Path, image: np.ndarray, quality: int = _QUALITY) -> None:
    """Write an image, uint8 [H, W, 3] RGB or [H, W], as JPEG."""
    _, data = cv2.imencode(".jpg", image[..., ::-1] if image.ndim == 3 else image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    path.write_bytes(data.tobytes())
