"""How far long work is: the one callback that every room takes."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called as the work goes on."""

    def __call__(self, done: float, total: float, stage: str = "", detail: str = "") -> None:
        """Reports that `done` of `total` is complete.

        Args:
            done: the part of `total` that is complete; it may be a fraction.
            total: the whole, in the same unit.
            stage: what is being done; empty for the stage of the last call.
            detail: what may change at any time, such as a loss or the file at hand.
        """


def silent(done: float, total: float, stage: str = "", detail: str = "") -> None:
    """Reports nothing: the default."""


def part(progress: Progress, index: int, count: int) -> Progress:
    """The progress of one of `count` equal parts of a work, as that of the whole.

    Example:
        >>> part(lambda *now: print(now), 1, 4)(1, 2, "second of four")
        (1.5, 4, 'second of four', '')
    """

    def report(done: float, total: float, stage: str = "", detail: str = "") -> None:
        progress(index + done / max(total, 1), count, stage, detail)

    return report
