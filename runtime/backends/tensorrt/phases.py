"""The progress of a build, from the nested phases that TensorRT's builder reports."""

from __future__ import annotations

from dataclasses import dataclass

from rsvl.runtime.progress import Progress


@dataclass
class _Phase:
    name: str
    steps: int
    done: int = 0


class Phases:
    """Follows the builder's phases; each is one step of the phase around it.

    The methods are those of TensorRT's `IProgressMonitor`, which calls them while it builds. An exception must not
    cross its C++ frames, so the first one is kept in `error` and stops the build.
    """

    def __init__(self, progress: Progress) -> None:
        """Passes the share of the build that is done on, of 1, with the phase's name as its detail."""
        self.error: BaseException | None = None
        self._progress = progress
        self._open: list[_Phase] = []
        self._last = 0.0

    def phase_start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase begins inside `parent`."""
        while self._open and parent is not None and self._open[-1].name != parent:
            self._open.pop()  # a phase that the builder did not end
        self._open.append(_Phase(name, max(1, steps)))
        self._report()

    def step_complete(self, name: str, step: int) -> bool:
        """A step, counted from 0, is done. False stops the build."""
        for phase in self._open:
            if phase.name == name:
                phase.done = max(phase.done, step + 1)
        self._report()
        return self.error is None

    def phase_finish(self, name: str) -> None:
        """A phase has ended, and with it those inside."""
        if any(phase.name == name for phase in self._open):
            while self._open.pop().name != name:
                pass

    def _report(self) -> None:
        if self.error is not None:
            return
        share = 0.0
        for phase in reversed(self._open):
            share = min(1.0, (phase.done + share) / phase.steps)
        self._last = max(self._last, share)  # the builder sometimes begins a phase again
        try:
            self._progress(self._last, 1.0, detail=self._open[-1].name if self._open else "")
        except BaseException as error:
            self.error = error
