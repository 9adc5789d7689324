"""How quantizing tells of its progress."""

from __future__ import annotations

from typing import Protocol


class Report(Protocol):
    """Told how far the work is: so much of `total`, in the stage called `what`."""

    def __call__(self, done: float, total: float, what: str = "") -> None:
        """Takes a step."""
