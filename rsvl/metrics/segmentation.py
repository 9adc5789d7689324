"""The papers' metrics of referring segmentation: oIoU, mIoU, Pr@0.5…0.9, by object size and by class.

As in section 4.1 of CD2FSAN's paper and in the public evaluation code that its tables come from (LAVT, RMSIN): each
(image, sentence) pair is a sample; oIoU is the sum of intersections over the sum of unions; mIoU is the mean of the
samples' IoU; Pr@X is the share of samples whose IoU is at least X. A sample without any predicted or target pixel has
IoU 0. All values are fractions 0…1; a group without samples has NaN.

No-target sentences stay out of all of these. For them, after gRefCOCO: N-acc is the share of no-target
sentences whose predicted mask is empty, T-acc the share of the other sentences whose predicted mask is not. "Empty"
is fewer than `EMPTY_BELOW` pixels. (GRES gives models without a no-target output a tolerance of 50 pixels at 480×480;
overhead images have objects smaller than that.)

Only NumPy is needed, so that bundles are evaluated without PyTorch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from rsvl.metrics.grouped import GroupedOverlaps, GroupedReport
from rsvl.metrics.overlap import GroupMetrics, area_bin
from rsvl.metrics.sample import ALL, AREA, CATEGORY, Sample
from rsvl.metrics.shares import plain

COVERAGE = "coverage"
COVERAGE_BINS = (("small", 0.20), ("medium", 0.60), ("large", math.inf))
"""Size bins of RRSIS-D's paper: the share of the image that the target covers, up to and including the limit."""

EMPTY_BELOW = 10
"""A predicted mask of fewer pixels counts as empty when asked whether the model saw that nothing is there."""


@dataclass(frozen=True)
class SegmentationReport(GroupedReport):
    """What `SegmentationMetrics.compute` returns.

    Attributes:
        by_coverage: the metrics by `COVERAGE_BINS`, all bins present.
        skipped_images: images that the evaluation could not use (see `rsvl.tasks.segmentation.evaluation`).
    """

    by_coverage: dict[str, GroupMetrics]
    skipped_images: int = 0

    @property
    def miou(self) -> float:
        """Mean IoU over all samples that have a target."""
        return self.overall.miou

    @property
    def oiou(self) -> float:
        """Overall IoU over all samples that have a target."""
        return self.overall.oiou

    def to_dict(self) -> dict[str, Any]:
        """Plain values ready for JSON; NaN becomes None."""
        groups = {"by_coverage": self.by_coverage, "by_area": self.by_area, "by_category": self.by_category}
        return {
            **self.overall.to_dict(),
            **plain({"no_target_count": self.no_target_count, "N-acc": self.n_acc, "T-acc": self.t_acc}),
            "skipped_images": self.skipped_images,
            **{name: {key: group.to_dict() for key, group in found.items()} for name, found in groups.items()},
        }


class SegmentationMetrics(GroupedOverlaps):
    """Accumulates (image, sentence) pairs.

    Examples:
        >>> metrics = SegmentationMetrics()
        >>> target = np.zeros((8, 8), bool)
        >>> target[:4] = True
        >>> predicted = target.copy()
        >>> predicted[3] = False
        >>> sample = metrics.update(predicted, target, "ship")
        >>> metrics.compute().miou
        0.75
    """

    def __init__(self, empty_below: int = EMPTY_BELOW) -> None:
        """`empty_below`: a predicted mask of fewer pixels counts as empty for N-acc and T-acc."""
        super().__init__()
        self.empty_below = empty_below

    def update(self, pred: np.ndarray, target: np.ndarray, category: str = "", no_target: bool = False) -> Sample:
        """Adds one sample.

        Args:
            pred: the predicted mask, bool [H, W].
            target: the true mask, bool [H, W]; ignored if `no_target`.
            category: the object's class; ``""`` stays out of the metrics by class.
            no_target: the sentence refers to nothing in the image.

        Returns:
            The sample with its IoU as score; that of a no-target sentence is 1 for an empty mask, else 0.

        Raises:
            ValueError: the masks are not bool or not of one shape.
        """
        if pred.dtype != bool or target.dtype != bool or pred.shape != target.shape:
            raise ValueError(
                f"masks must be bool of one shape, not {pred.dtype} {pred.shape}, {target.dtype} {target.shape}"
            )
        predicted = int(np.count_nonzero(pred))
        found = predicted >= self.empty_below
        if no_target:
            return self._add_no_target(found)
        area, intersection = int(np.count_nonzero(target)), int(np.count_nonzero(pred & target))
        coverage = next(name for name, limit in COVERAGE_BINS if area <= limit * target.size)
        groups = (ALL, (COVERAGE, coverage), (AREA, area_bin(area)), *([(CATEGORY, category)] if category else []))
        return Sample(self._add(groups, intersection, predicted + area - intersection, found), groups)

    def compute(self) -> SegmentationReport:
        """The metrics of all samples added so far."""
        return SegmentationReport(**self._shared(), by_coverage=self._by(COVERAGE, dict(COVERAGE_BINS)))
