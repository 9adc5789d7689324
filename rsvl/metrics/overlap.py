"""What overlap metrics share: sums of intersections and unions, Pr@X, size bins."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from rsvl.metrics.shares import plain, share

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
"""The IoU thresholds of Pr@X."""

AREA_BINS = (("small", 32**2), ("medium", 96**2), ("large", math.inf))
"""Size bins of COCO: the target's pixels at the image's own size, below the limit. Overhead objects are mostly below
20 % of their image, so that these discriminate more than the coverage does."""


@dataclass(frozen=True)
class GroupMetrics:
    """Metrics of a group of samples, fractions 0…1, NaN where the group is empty.

    Attributes:
        count: number of samples.
        oiou: sum of intersections over sum of unions.
        miou: mean of the samples' IoU.
        precision: share of samples with IoU of at least 0.5, 0.6, 0.7, 0.8 and 0.9, by threshold.
    """

    count: int
    oiou: float
    miou: float
    precision: dict[float, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain values under the papers' names, ready for JSON; NaN becomes None."""
        values = {"count": self.count, "oIoU": self.oiou, "mIoU": self.miou}
        return plain(values | {f"Pr@{threshold}": value for threshold, value in self.precision.items()})


@dataclass
class OverlapSums:
    """Sums over the samples of a group, from which its metrics follow."""

    count: int = 0
    intersection: float = 0
    union: float = 0
    iou: float = 0.0
    reached: list[int] = field(default_factory=lambda: [0] * len(THRESHOLDS))

    def add(self, intersection: float, union: float) -> float:
        """Adds a sample; returns its IoU."""
        iou = intersection / union if union else 0.0
        self.count += 1
        self.intersection += intersection
        self.union += union
        self.iou += iou
        self.reached = [n + (iou >= threshold) for n, threshold in zip(self.reached, THRESHOLDS, strict=True)]
        return iou

    def merge(self, other: OverlapSums) -> None:
        """Adds another group's samples."""
        self.count += other.count
        self.intersection += other.intersection
        self.union += other.union
        self.iou += other.iou
        self.reached = [a + b for a, b in zip(self.reached, other.reached, strict=True)]

    def metrics(self) -> GroupMetrics:
        """The group's metrics."""
        oiou = self.intersection / self.union if self.union else share(0, self.count)
        precision = {t: share(n, self.count) for t, n in zip(THRESHOLDS, self.reached, strict=True)}
        return GroupMetrics(self.count, oiou, share(self.iou, self.count), precision)


def area_bin(area: float) -> str:
    """The bin of `AREA_BINS` that a target of `area` pixels is in."""
    return next(name for name, limit in AREA_BINS if area < limit)
