"""How much worse than its baseline a bundle may be."""

from __future__ import annotations

from dataclasses import dataclass, field

from rsvl.metrics.drop import Drop


@dataclass(frozen=True)
class Limits:
    """How much worse a bundle may be; None sets no limit.

    Attributes:
        drop: of the primary metric over all samples; MLPerf's 99 % by default.
        group_drop: of the metric of each class, size, sensor or type.
        agreement: the minimum mean agreement of the answers with the baseline's, 0…1.
        latency_ratio: the maximum latency ratio to the baseline.
        size_ratio: the maximum size ratio to the baseline.
        strict: whether a value beyond its limit is red even where chance explains it.
    """

    drop: Drop = field(default=Drop(0.01))
    group_drop: Drop = field(default=Drop(0.05))
    agreement: float | None = None
    latency_ratio: float | None = None
    size_ratio: float | None = None
    strict: bool = False
