"""The result of a gate, line by line, each with its limit."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any


class Status(str, Enum):
    """The status of a line.

    OK: within its limit. RED: beyond it, and certainly worse than the baseline. UNSURE: beyond it, but chance alone may
    have done that. FEW: too few images to decide.
    """

    OK = "ok"
    RED = "red"
    UNSURE = "unsure"
    FEW = "too few"


@dataclass(frozen=True)
class Line:
    """One thing that was compared.

    Attributes:
        kind: what is looked at: ``all``, ``class``, ``area`` …, ``agreement``, ``latency``, ``size``.
        name: which one of it; empty where there is only one.
        baseline: the baseline's value: a score of 0…1, milliseconds or megabytes, as `unit` says.
        value: the bundle's.
        change: what the limit is set to: the drop of a score, or the ratio of two times or sizes; more is worse.
        low: where the 95 % interval of the change begins; None where there are too few images.
        high: where it ends.
        limit: the largest change allowed; None for no limit.
        status: what follows.
        unit: of the values; empty for a score.
        images: number of images; of rounds for the latency.
        samples: number of samples.
    """

    kind: str
    name: str
    baseline: float
    value: float
    change: float
    low: float | None
    high: float | None
    limit: float | None
    status: Status
    unit: str = ""
    images: int = 0
    samples: int = 0

    @property
    def title(self) -> str:
        """Its kind and name."""
        return f"{self.kind}: {self.name}" if self.name else self.kind


def judge(change: float, low: float | None, limit: float | None, strict: bool, unchanged: float = 0.0) -> Status:
    """The gate's one rule: red is what is beyond its limit and whose confidence interval leaves no doubt of a change.

    The interval is compared with no change, not with the limit: noise alone turns nothing red, and where something
    certainly got worse, the change itself measures best by how much. To require the whole interval to be beyond the
    limit would let a class of ten images lose a sixth of its metric.

    Args:
        change: what was found.
        low: where its interval begins; None where there are too few images.
        limit: the largest change allowed; None for no limit.
        strict: whether the change itself decides, however few the images.
        unchanged: the change where nothing has: 0 for a drop, 1 for a ratio.
    """
    beyond = limit is not None and change > limit
    if strict:
        return Status.RED if beyond else Status.OK
    if low is None:
        return Status.FEW
    if limit is None or not beyond:
        return Status.OK
    return Status.RED if low > min(unchanged, limit) else Status.UNSURE


@dataclass(frozen=True)
class Verdict:
    """The result of a gate.

    Attributes:
        bundle: the bundle that was judged, and what ran it, for people.
        baseline: what it was compared against, likewise.
        figure: the name of the primary metric, such as ``mIoU``.
        conditions: what was asked: model, task, data, split, limit, sensor.
        lines: all that was compared.
        remarks: what else people should know.
    """

    bundle: str
    baseline: str
    figure: str
    conditions: dict[str, Any]
    lines: tuple[Line, ...]
    remarks: tuple[str, ...] = ()

    @property
    def red(self) -> tuple[Line, ...]:
        """The lines beyond their limits."""
        return tuple(line for line in self.lines if line.status is Status.RED)

    @property
    def unsure(self) -> tuple[Line, ...]:
        """The lines beyond their limits that chance may explain."""
        return tuple(line for line in self.lines if line.status is Status.UNSURE)

    @property
    def passed(self) -> bool:
        """Whether no line is red."""
        return not self.red

    def to_dict(self) -> dict[str, Any]:
        """Plain values ready for JSON."""
        return {"passed": self.passed, "unsure": bool(self.unsure), **asdict(self)}
