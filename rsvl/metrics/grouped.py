"""What the metrics of masks and of boxes share: overlaps added up by group, and no-target sentences."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rsvl.metrics.overlap import AREA_BINS, GroupMetrics, OverlapSums
from rsvl.metrics.sample import ALL, AREA, CATEGORY, NO_TARGET, Group, Sample
from rsvl.metrics.shares import share


@dataclass(frozen=True)
class GroupedReport:
    """What both reports have.

    Attributes:
        overall: all samples that have a target.
        by_area: the same by `AREA_BINS`, all bins present.
        by_category: the same by class, sorted by name; classes without samples are absent.
        no_target_count: number of no-target sentences.
        n_acc: share of those for which nothing was found; NaN if there were none.
        t_acc: share of the sentences with a target for which something was found; NaN if there were none.
    """

    overall: GroupMetrics
    by_area: dict[str, GroupMetrics]
    by_category: dict[str, GroupMetrics]
    no_target_count: int
    n_acc: float
    t_acc: float


class GroupedOverlaps:
    """Accumulates samples one at a time; memory does not grow with their number.

    Accumulators of several processes are put together by `merge`; the result does not depend on how the samples were
    distributed (except for rounding).
    """

    def __init__(self) -> None:
        self._sums: defaultdict[Group, OverlapSums] = defaultdict(OverlapSums)
        self._no_target = self._found_nothing = self._found_something = 0

    def merge(self, other: GroupedOverlaps) -> None:
        """Adds another accumulator's samples to this one."""
        for group, sums in other._sums.items():
            self._sums[group].merge(sums)
        self._no_target += other._no_target
        self._found_nothing += other._found_nothing
        self._found_something += other._found_something

    def _add(self, groups: Sequence[Group], intersection: float, union: float, found: bool) -> float:
        """Adds a sample that has a target; returns its IoU."""
        self._found_something += found
        ious = [self._sums[group].add(intersection, union) for group in groups]
        return ious[0]

    def _add_no_target(self, found: bool) -> Sample:
        """Adds a no-target sentence: right where nothing was found."""
        self._no_target += 1
        self._found_nothing += not found
        return Sample(float(not found), ((NO_TARGET, ""),))

    def _by(self, kind: str, names: Iterable[str] | None = None) -> dict[str, GroupMetrics]:
        """The metrics of the groups of a kind: those named, or all that there are, sorted by name."""
        there = sorted(name for of, name in self._sums if of == kind)
        return {name: self._metrics((kind, name)) for name in (there if names is None else names)}

    def _metrics(self, group: Group) -> GroupMetrics:
        return self._sums.get(group, OverlapSums()).metrics()

    def _shared(self) -> dict[str, Any]:
        """The fields of `GroupedReport`."""
        overall = self._metrics(ALL)
        return {
            "overall": overall,
            "by_area": self._by(AREA, dict(AREA_BINS)),
            "by_category": self._by(CATEGORY),
            "no_target_count": self._no_target,
            "n_acc": share(self._found_nothing, self._no_target),
            "t_acc": share(self._found_something, overall.count),
        }
