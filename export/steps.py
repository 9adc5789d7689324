"""The steps of a pipeline, counted for the caller's progress bar."""

from __future__ import annotations

from rsvl.runtime.progress import Progress, part


class Steps:
    """Reports each step when it begins."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total, self._begun = progress, total, 0

    def begin(self, stage: str) -> None:
        """Begins the next step."""
        self._progress(self._begun, self._total, stage)
        self._begun += 1

    @property
    def within(self) -> Progress:
        """The progress of the step that began last."""
        return part(self._progress, self._begun - 1, self._total)
