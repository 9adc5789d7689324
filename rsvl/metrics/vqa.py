"""The papers' metrics of visual question answering: OA, AA and the accuracy of each type of question.

As in RSVQA's paper and public code: an answer is right when it is the true answer's text; OA is the share of right
answers over all questions; AA is the mean of the types' shares, each type counting the same. All values are fractions
0…1; NaN where nothing was asked.

Beside them stands what needs no model: always giving each type's commonest answer. It is the commonest in the very
questions that are measured, so no guess by type can be better.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np

from rsvl.metrics.sample import ALL, Sample
from rsvl.metrics.shares import plain, share

TYPE, CONDITION = "type", "condition"
"""What questions are grouped by."""


@dataclass(frozen=True)
class TypeAccuracy:
    """Questions of one type: how many, the share answered right, and the share of the commonest answer."""

    count: int
    accuracy: float
    commonest: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values ready for JSON; NaN becomes None."""
        return plain({"count": self.count, "accuracy": self.accuracy, "commonest": self.commonest})


@dataclass(frozen=True)
class VQAReport:
    """What `VQAMetrics.compute` returns.

    Attributes:
        count: number of questions.
        oa: overall accuracy.
        aa: average of the types' accuracies.
        commonest_oa: overall accuracy of always giving each type's commonest answer.
        commonest_aa: average accuracy of that.
        by_type: by type, sorted by name.
        by_condition: by the condition of the optical image, sorted by name; without the questions that have none.
    """

    count: int
    oa: float
    aa: float
    commonest_oa: float
    commonest_aa: float
    by_type: dict[str, TypeAccuracy]
    by_condition: dict[str, TypeAccuracy]

    def to_dict(self) -> dict[str, Any]:
        """Plain values under the papers' names, ready for JSON; NaN becomes None."""
        values = {"count": self.count, "OA": self.oa, "AA": self.aa}
        return {
            **plain(values | {"commonest OA": self.commonest_oa, "commonest AA": self.commonest_aa}),
            "by_type": {name: group.to_dict() for name, group in self.by_type.items()},
            "by_condition": {name: group.to_dict() for name, group in self.by_condition.items()},
        }


class VQAMetrics:
    """Accumulates answers one at a time; memory does not grow with their number.

    Examples:
        >>> metrics = VQAMetrics()
        >>> for given, true in (("yes", "yes"), ("no", "yes")):
        ...     sample = metrics.update(given, true, type="presence")
        >>> metrics.compute().oa
        0.5
    """

    def __init__(self) -> None:
        # (type, condition) → true answers, and those of them that were given
        self._true: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self._right: Counter[tuple[str, str]] = Counter()

    def update(self, pred: str, answer: str, type: str, condition: str = "") -> Sample:
        """Adds one question.

        Args:
            pred: the answer given.
            answer: the true answer.
            type: the question's type.
            condition: of the optical image, such as ``cloudy``; ``""`` stays out of the metrics by condition.

        Returns:
            The question as a sample, whose score is 1 for the right answer, else 0.
        """
        self._true[type, condition][answer] += 1
        self._right[type, condition] += pred == answer
        groups = (ALL, (TYPE, type), *([(CONDITION, condition)] if condition else []))
        return Sample(float(pred == answer), groups)

    def merge(self, other: VQAMetrics) -> None:
        """Adds another accumulator's questions to this one."""
        for key, answers in other._true.items():
            self._true[key] += answers
        self._right.update(other._right)

    def compute(self) -> VQAReport:
        """The metrics of all questions added so far."""
        by_type = {name: self._group(type_=name) for name in sorted({kind for kind, _ in self._true})}
        conditions = sorted({condition for _, condition in self._true} - {""})
        count = sum(group.count for group in by_type.values())
        commonest = [(group.commonest * group.count, group.commonest) for group in by_type.values()]
        return VQAReport(
            count=count,
            oa=share(self._right.total(), count),
            aa=_mean([group.accuracy for group in by_type.values()]),
            commonest_oa=share(sum(number for number, _ in commonest), count),
            commonest_aa=_mean([part for _, part in commonest]),
            by_type=by_type,
            by_condition={name: self._group(condition=name) for name in conditions},
        )

    def _group(self, type_: str | None = None, condition: str | None = None) -> TypeAccuracy:
        """The questions of a type, or under a condition; the commonest answers are each type's own."""
        keys = [key for key in self._true if type_ in (None, key[0]) and condition in (None, key[1])]
        answers: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for key in keys:
            answers[key[0]] += self._true[key]
        count = sum(found.total() for found in answers.values())
        commonest = sum(max(found.values()) for found in answers.values())
        return TypeAccuracy(count, share(sum(self._right[key] for key in keys), count), share(commonest, count))


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
