"""The papers' metrics, one module a task: samples are added one by one, and a report tells the groups' figures.

Only NumPy is needed, so that bundles are evaluated without PyTorch.
"""

from rsvl.metrics.grounding import GroundingMetrics, GroundingReport
from rsvl.metrics.matching import (
    RetrievalReport,
    ZeroShotMetrics,
    ZeroShotReport,
    retrieval,
    retrieval_ranks,
    retrieval_samples,
)
from rsvl.metrics.overlap import AREA_BINS, THRESHOLDS, GroupMetrics
from rsvl.metrics.sample import ALL, Group, Sample
from rsvl.metrics.segmentation import COVERAGE_BINS, EMPTY_BELOW, MetricsReport, ReferringMetrics
from rsvl.metrics.vqa import AnswerMetrics, AnswerReport, TypeAccuracy

__all__ = [
    "ALL", "AREA_BINS", "COVERAGE_BINS", "EMPTY_BELOW", "THRESHOLDS", "AnswerMetrics", "AnswerReport",
    "GroundingMetrics", "GroundingReport", "Group", "GroupMetrics", "MetricsReport", "ReferringMetrics",
    "RetrievalReport", "Sample", "TypeAccuracy", "ZeroShotMetrics", "ZeroShotReport", "retrieval", "retrieval_ranks",
    "retrieval_samples",
]  # fmt: skip
