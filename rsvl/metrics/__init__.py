"""The papers' metrics, one module a task: samples are added one by one, and a report tells the groups' figures.

Only NumPy is needed, so that bundles are evaluated without PyTorch.
"""

from rsvl.metrics.answering import AnswerMetrics, AnswerReport, TypeAccuracy
from rsvl.metrics.grounding import GroundingMetrics, GroundingReport
from rsvl.metrics.matching import RetrievalReport, ZeroShotMetrics, ZeroShotReport, retrieval
from rsvl.metrics.overlap import AREA_BINS, THRESHOLDS, GroupMetrics
from rsvl.metrics.referring import COVERAGE_BINS, EMPTY_BELOW, MetricsReport, ReferringMetrics

__all__ = [
    "AREA_BINS", "COVERAGE_BINS", "EMPTY_BELOW", "THRESHOLDS", "AnswerMetrics", "AnswerReport", "GroundingMetrics",
    "GroundingReport", "GroupMetrics", "MetricsReport", "ReferringMetrics", "RetrievalReport", "TypeAccuracy",
    "ZeroShotMetrics", "ZeroShotReport", "retrieval",
]  # fmt: skip
