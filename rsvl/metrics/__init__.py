"""The papers' metrics, one module per task: samples are added one by one, and a report gives each group's metrics.

Only NumPy is needed, so that bundles are evaluated without PyTorch.
"""

from rsvl.metrics.classification import ClassificationMetrics, ClassificationReport, ClassMetrics
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
from rsvl.metrics.segmentation import COVERAGE_BINS, EMPTY_BELOW, SegmentationMetrics, SegmentationReport
from rsvl.metrics.vqa import TypeAccuracy, VQAMetrics, VQAReport

__all__ = [
    "ALL",
    "AREA_BINS",
    "COVERAGE_BINS",
    "EMPTY_BELOW",
    "THRESHOLDS",
    "ClassMetrics",
    "ClassificationMetrics",
    "ClassificationReport",
    "GroundingMetrics",
    "GroundingReport",
    "Group",
    "GroupMetrics",
    "RetrievalReport",
    "Sample",
    "SegmentationMetrics",
    "SegmentationReport",
    "TypeAccuracy",
    "VQAMetrics",
    "VQAReport",
    "ZeroShotMetrics",
    "ZeroShotReport",
    "retrieval",
    "retrieval_ranks",
    "retrieval_samples",
]  # fmt: skip
