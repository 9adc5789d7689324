"""The steps of a pipeline, counted for the caller's progress bar."""

from __future__ import annotations

from rsvl.runtime.progress import Progress


class Steps:
    """Reports each step when it begins, and how far the step at hand is."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def begin(self, stage: str) -> None:
        """Begins the next step."""
        self._progress(self._done, self._total, stage)
        self._done += 1

    def within(self, done: float, total: float, stage: str = "", detail: str = "") -> None:
        """Reports, as a `Progress`, that `done` of `total` of the step that began last is complete."""
        self._progress(self._done - 1 + done / max(total, 1), self._total, stage, detail)
