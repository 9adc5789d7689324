"""How a bundle is quantized to 8 bits."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rsvl.data.records import Split
from rsvl.export.quantization.types import QuantType
from rsvl.metrics.drop import Drop
from rsvl.runtime.errors import DatasetError, UsageError
from rsvl.tasks import open_split

CALIBRATORS = ("entropy", "percentile", "minmax")


@dataclass(frozen=True)
class Images:
    """The first images of a split of a dataset.

    Attributes:
        data: the dataset's name.
        root: the folder of its files as published.
        split: of the dataset.
        count: at most this many images.
    """

    data: str
    root: Path
    split: str
    count: int

    def open(self, task: str) -> Split[Any]:
        """Opens the split for a task.

        Raises:
            UsageError: an unknown dataset, or one of another task.
            DatasetError: a missing or damaged file or split, or no images.
        """
        split = open_split(task, self.data, self.root, self.split)
        if not len(split):
            raise DatasetError(f"{self.data}: the split {self.split!r} has no images: take another split or dataset")
        return split


@dataclass(frozen=True)
class QuantizationSettings:
    """How a bundle becomes int8, or fp8.

    Attributes:
        calibration: what gives the activations' ranges; None for weights only.
        labelled: what the metric is measured on; None to quantize everything without measuring.
        calibrator: how a range follows from the values seen, one of `CALIBRATORS`.
        max_drop: how much the metric may drop below that of float32; MLPerf's 99 % by default.
        sensitivity: whether each part is measured alone even where everything fits.
        agreement: whether the metric is the agreement with float32 instead of the task's primary metric: for weights
            that are not trained yet.
    """

    calibration: Images | None
    labelled: Images | None = None
    calibrator: str = "minmax"
    max_drop: Drop = field(default=Drop(0.01))
    sensitivity: bool = False
    agreement: bool = False

    @property
    def activations(self) -> bool:
        """Whether activations are quantized too."""
        return self.calibration is not None

    def check(self, task: str, kind: QuantType) -> None:
        """Opens the data, to find early what is wrong with it.

        Raises:
            UsageError: settings that the type has no use for; else as for `Images.open`.
            DatasetError: as for `Images.open`.
        """
        if not kind.needs_range and self.calibrator != "minmax":
            raise UsageError(
                f"{kind.name} has steps for small numbers beside large ones: it takes the calibrator minmax, "
                f"not {self.calibrator}"
            )
        if not kind.needs_range and self.calibration is None:
            raise UsageError(f"{kind.name} is calibrated: give calibration data, or store weights alone in int8")
        for images in (self.calibration, self.labelled):
            if images is not None:
                images.open(task)
