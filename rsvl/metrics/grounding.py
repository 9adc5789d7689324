"""The papers' metrics of visual grounding: Pr@0.5…0.9, meanIoU, cumIoU, by object size, class and sensor.

As in DIOR-RSVG's paper and public code: each (image, sentence) pair is a sample with one predicted box; the IoU is that
of the boxes' corners (no pixel is added); Pr@X is the share of samples whose IoU is at least X; meanIoU is the mean of
the samples' IoU; cumIoU is the sum of intersections over the sum of unions. All values are fractions 0…1, computed in
float64; a group without samples has NaN.

No-target sentences stay out of these; for them N-acc is the share for which no box was given, and T-acc the
share of the other sentences for which one was (after gRefCOCO).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rsvl.metrics.grouped import GroupedOverlaps, GroupedReport
from rsvl.metrics.overlap import GroupMetrics, area_bin
from rsvl.metrics.sample import ALL, AREA, CATEGORY, Sample
from rsvl.metrics.shares import plain

SENSOR = "sensor"
"""Beside those of `rsvl.metrics.sample`, what samples are grouped by."""


@dataclass(frozen=True)
class GroundingReport(GroupedReport):
    """What `GroundingMetrics.compute` returns; a group's `miou` is the papers' meanIoU, its `oiou` their cumIoU.

    Attributes:
        by_sensor: the metrics by sensor, sorted by name.
    """

    by_sensor: dict[str, GroupMetrics]

    @property
    def pr50(self) -> float:
        """Pr@0.5 over all samples that have a target: the metric that papers compare by."""
        return self.overall.precision[0.5]

    def to_dict(self) -> dict[str, Any]:
        """Plain values under the papers' names, ready for JSON; NaN becomes None."""
        groups = {"by_area": self.by_area, "by_category": self.by_category, "by_sensor": self.by_sensor}
        return {
            **box_names(self.overall),
            **plain({"no_target_count": self.no_target_count, "N-acc": self.n_acc, "T-acc": self.t_acc}),
            **{name: {key: box_names(group) for key, group in found.items()} for name, found in groups.items()},
        }


def box_names(group: GroupMetrics) -> dict[str, Any]:
    """A group's plain values under the names that grounding papers use."""
    values = {f"Pr@{threshold}": value for threshold, value in group.precision.items()}
    return plain({"count": group.count, **values, "meanIoU": group.miou, "cumIoU": group.oiou})


class GroundingMetrics(GroupedOverlaps):
    """Accumulates (image, sentence) pairs.

    Examples:
        >>> metrics = GroundingMetrics()
        >>> sample = metrics.update([0, 0, 10, 10], [0, 0, 10, 8], "ship")
        >>> report = metrics.compute()
        >>> report.pr50, report.overall.miou
        (1.0, 0.8)
    """

    def update(
        self,
        pred: Sequence[float] | np.ndarray | None,
        target: Sequence[float] | np.ndarray | None,
        category: str = "",
        sensor: str = "optical",
    ) -> Sample:
        """Adds one sample.

        Args:
            pred: the predicted box (x1, y1, x2, y2) in pixels of the image; None where the model finds nothing.
            target: the true box likewise; None for a no-target sentence.
            category: the object's class; ``""`` stays out of the metrics by class.
            sensor: what took the image.

        Returns:
            The sample, whose score is 1 for an IoU of at least 0.5, else 0; that of a no-target sentence is 1 where no
            box was given.

        Raises:
            ValueError: a box that is not four finite numbers, or a true box without area.
        """
        if target is None:
            return self._add_no_target(pred is not None)
        true = _corners(target)
        area = float((true[2] - true[0]) * (true[3] - true[1]))
        if not (area > 0 and true[2] > true[0]):
            raise ValueError(f"a true box without area: {true.tolist()}")
        intersection, union = (0.0, area) if pred is None else overlap(_corners(pred), true)
        groups = (ALL, (AREA, area_bin(area)), (SENSOR, sensor), *([(CATEGORY, category)] if category else []))
        return Sample(float(self._add(groups, intersection, union, pred is not None) >= 0.5), groups)

    def compute(self) -> GroundingReport:
        """The metrics of all samples added so far."""
        return GroundingReport(**self._shared(), by_sensor=self._by(SENSOR))


def overlap(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Intersection and union of two boxes (x1, y1, x2, y2), in square pixels; a box turned inside out has no area."""
    width, height = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    intersection = float(max(width, 0.0) * max(height, 0.0))
    areas = [float(np.prod(np.maximum(box[2:] - box[:2], 0.0))) for box in (one, other)]
    return intersection, sum(areas) - intersection


def _corners(box: Sequence[float] | np.ndarray) -> np.ndarray:
    corners = np.asarray(box, np.float64)
    if corners.shape != (4,) or not np.isfinite(corners).all():
        raise ValueError(f"a box is x1, y1, x2, y2, not {box!r}")
    return corners
