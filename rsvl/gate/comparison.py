"""Two measurements compared: the primary metric over all samples and in each group, and how far the answers agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rsvl.gate.intervals import simultaneous
from rsvl.gate.limits import Limits
from rsvl.gate.measurement import Measurement, check_comparable
from rsvl.gate.verdict import Line, judge
from rsvl.metrics.sample import ALL, Group
from rsvl.runtime.errors import InputError

MIN_IMAGES = 10
"""A group of fewer images is not judged alone but pooled with the other small ones of its kind: where nothing but noise
makes samples better or worse, all n images of a group get worse with a probability of 2^-n, below one in a thousand
from ten on."""

AGREEMENT: Group = ("agreement", "")

Agreement = Callable[[Any, Any], float]
"""`rsvl.tasks.contract.Evaluation.agreement`."""


@dataclass
class _Sums:
    """Of each image [n] and group [G]: weights, and weighted scores of the baseline and of the bundle.

    `samples` counts each group's samples, int [G].
    """

    groups: list[Group]
    weights: np.ndarray
    before: np.ndarray
    after: np.ndarray
    samples: np.ndarray

    @property
    def images(self) -> np.ndarray:
        return np.count_nonzero(self.weights, axis=0)

    def pool(self, columns: Sequence[int], group: Group) -> None:
        """Adds a group that holds the samples of others, none of which share a sample."""
        self.groups.append(group)
        for name in ("weights", "before", "after", "samples"):
            array = getattr(self, name)
            setattr(self, name, np.concatenate([array, array[..., columns].sum(axis=-1, keepdims=True)], axis=-1))


def compare(baseline: Measurement, other: Measurement, agreement: Agreement, limits: Limits) -> list[Line]:
    """Compares two measurements of the same questions, sample by sample.

    Args:
        baseline: what to compare against.
        other: what is judged.
        agreement: of two answers; the task's `Evaluation.agreement`.
        limits: how much worse the other may be.

    Returns:
        The primary metric over all samples, the agreement, then every group, kind by kind. Groups of fewer than
        `MIN_IMAGES` images have no interval; they are pooled into one more group of their kind.

    Raises:
        UsageError: they were not asked the same questions.
        InputError: fewer than `MIN_IMAGES` images, or a recorded answer that is damaged.
    """
    check_comparable(baseline, other)
    sums = _sums(baseline, other, agreement)
    if ALL not in sums.groups or sums.images[sums.groups.index(ALL)] < MIN_IMAGES:
        count = len({record.image for record in other.samples})
        raise InputError(f"{count} images are too few to tell a drop from chance: give {MIN_IMAGES} or more")
    _pool_small_groups(sums)
    judged = np.flatnonzero(sums.images >= MIN_IMAGES)
    found = simultaneous((sums.before - sums.after)[:, judged], sums.weights[:, judged])
    interval = {int(g): (found.low[k], found.high[k]) for k, g in enumerate(judged)}
    return [_line(sums, g, interval.get(g), limits) for g in _order(sums.groups)]


def _sums(baseline: Measurement, other: Measurement, agreement: Agreement) -> _Sums:
    rows: dict[str, int] = {}
    columns: dict[Group, int] = {}
    entries: list[tuple[int, int, float, float, float]] = []
    for before, after in zip(baseline.samples, other.samples, strict=True):
        row, weight = rows.setdefault(after.image, len(rows)), after.sample.weight
        for group in after.sample.groups:
            column = columns.setdefault(group, len(columns))
            entries.append((row, column, weight, weight * before.sample.score, weight * after.sample.score))
        alike = agreement(before.answer, after.answer)
        entries.append((row, columns.setdefault(AGREEMENT, len(columns)), weight, weight, weight * alike))
    shape = len(rows), len(columns)
    row_of, column_of, *values = np.array(entries, np.float64).reshape(-1, 5).T
    at = row_of.astype(np.int64), column_of.astype(np.int64)
    weights, scores_before, scores_after = (np.zeros(shape) for _ in range(3))
    for array, value in zip((weights, scores_before, scores_after), values, strict=True):
        np.add.at(array, at, value)
    samples = np.bincount(at[1], minlength=len(columns))
    return _Sums(list(columns), weights, scores_before, scores_after, samples)


def _pool_small_groups(sums: _Sums) -> None:
    small: dict[str, list[int]] = {}
    for column, (kind, _) in enumerate(sums.groups):
        if sums.images[column] < MIN_IMAGES:
            small.setdefault(kind, []).append(column)
    for kind, columns in small.items():
        if len(columns) > 1:
            sums.pool(columns, (kind, f"all {len(columns)} of fewer than {MIN_IMAGES} images"))


def _order(groups: Sequence[Group]) -> list[int]:
    """All samples, agreement, then kind by kind as they came, each in the order of the alphabet."""
    kinds = list(dict.fromkeys([ALL[0], AGREEMENT[0], *(kind for kind, _ in groups)]))
    return sorted(range(len(groups)), key=lambda column: (kinds.index(groups[column][0]), groups[column][1]))


def _line(sums: _Sums, column: int, interval: tuple[float, float] | None, limits: Limits) -> Line:
    group, total = sums.groups[column], sums.weights[:, column].sum()
    before, after = (float(scores[:, column].sum() / total) for scores in (sums.before, sums.after))
    if group == AGREEMENT:
        limit = None if limits.agreement is None else 1 - limits.agreement
    else:
        limit = (limits.drop if group == ALL else limits.group_drop).of(before)
    low, high = (None, None) if interval is None else (float(interval[0]), float(interval[1]))
    return Line(
        *group,
        baseline=before,
        value=after,
        change=before - after,
        low=low,
        high=high,
        limit=limit,
        status=judge(before - after, low, limit, limits.strict),
        images=int(sums.images[column]),
        samples=int(sums.samples[column]),
    )
