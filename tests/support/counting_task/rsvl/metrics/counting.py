"""Metrics of object counting: accuracy and mean absolute error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rsvl.metrics.sample import ALL, Sample
from rsvl.metrics.shares import plain, share


@dataclass(frozen=True)
class CountingReport:
    """What `CountingMetrics.compute` returns: number of images, share counted exactly, mean absolute error."""

    count: int
    accuracy: float
    mae: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values ready for JSON; NaN becomes None."""
        return plain({"count": self.count, "accuracy": self.accuracy, "MAE": self.mae})


class CountingMetrics:
    """Accumulates images one at a time."""

    def __init__(self) -> None:
        self._images = self._exact = self._error = 0

    def update(self, pred: int, target: int) -> Sample:
        """Adds one image; its score is 1 for the exact count, else 0."""
        self._images += 1
        self._exact += pred == target
        self._error += abs(pred - target)
        return Sample(float(pred == target), (ALL, ("objects", str(target))))

    def compute(self) -> CountingReport:
        """The metrics of all images added so far."""
        return CountingReport(self._images, share(self._exact, self._images), share(self._error, self._images))
