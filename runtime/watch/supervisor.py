"""Work in a process of its own, which may crash, hang or be killed: what started it notices, and starts another."""

from __future__ import annotations

import errno
import multiprocessing
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from multiprocessing.connection import Connection
from typing import Any, Protocol

from rsvl.runtime.errors import RsvlError
from rsvl.runtime.processes import end, follow_parent

_POLL, _BEAT = 0.1, 0.2
_LOADING = 600.0
"""Seconds that loading a bundle, which gives no news, may take at least."""
_GRACE = 2.0
"""Seconds from SIGTERM to SIGKILL."""


class UnsoundError(RsvlError):
    """The process must not go on: its memory or the files it was loaded from have changed. Raised in the process."""


class Tell(Protocol):
    """How the work says that it goes on."""

    def __call__(self, news: Any = None) -> None:
        """Says that the work goes on, and hands something over, if it is given."""


class Worker(Protocol):
    """What does the work, in the process."""

    def answer(self, job: Any, tell: Tell) -> Any:
        """Does one job; calls `tell` at least once in the seconds after which the process would count as hung.

        Raises:
            UnsoundError: the process must be replaced.
        """


class Kind(Enum):
    """How a job ended."""

    DONE = "done"
    FAILED = "failed"
    DIED = "died"
    STALLED = "stalled"
    UNSOUND = "unsound"
    BLOCKED = "blocked"  # there is no room on a disk


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        kind: how.
        value: what the worker gave, of a job that was done.
        reason: why it was not done, in one line.
    """

    kind: Kind
    value: Any = None
    reason: str = ""


@dataclass
class Supervisor:
    """A worker in a process of its own.

    Attributes:
        open_worker: makes the worker, in its process; it is pickled.
        explain: one line for an exception, for the reason of a failure; it is pickled.
        stall: seconds without news from the worker after which it is killed.
        started: how often a process was started.
    """

    open_worker: Callable[[Tell], Worker]
    explain: Callable[[BaseException], str]
    stall: float
    started: int = 0
    _process: Any = field(default=None, repr=False)
    _connection: Any = field(default=None, repr=False)

    @property
    def pid(self) -> int | None:
        """The process's number; None where there is none."""
        return None if self._process is None else self._process.pid

    def start(self) -> Outcome:
        """Starts a process, if there is none, and waits until its worker is ready; whatever hinders it is `UNSOUND`."""
        if self._process is not None:
            return Outcome(Kind.DONE)
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self.open_worker, self.explain), daemon=True)
        self._process.start()
        theirs.close()
        self.started += 1
        outcome = self._wait(lambda news: None, max(self.stall, _LOADING))
        return outcome if outcome.kind is Kind.DONE else replace(outcome, kind=Kind.UNSOUND)

    def ask(self, job: Any, heard: Callable[[Any], None]) -> Outcome:
        """Has a job done.

        Args:
            job: what the worker's `answer` gets; it is pickled.
            heard: called with what the worker hands over meanwhile.
        """
        outcome = self.start()
        if outcome.kind is not Kind.DONE:
            return outcome
        with suppress(OSError):  # a process that is gone is noticed by waiting for its answer
            self._connection.send(job)
        return self._wait(heard, self.stall)

    def stop(self) -> None:
        """Ends the process: by SIGTERM, and by SIGKILL where that does not do."""
        if self._process is None:
            return
        end(self._process, _GRACE)
        self._connection.close()
        self._process = self._connection = None

    def _wait(self, heard: Callable[[Any], None], stall: float) -> Outcome:
        last = time.monotonic()
        while True:
            try:
                if not self._connection.poll(_POLL):
                    if time.monotonic() - last > stall:
                        self.stop()
                        return Outcome(Kind.STALLED, reason=f"no progress for {stall:g} s: the process was killed")
                    continue
                kind, value = self._connection.recv()
            except (EOFError, OSError):
                self._process.join()
                code = self._process.exitcode
                self.stop()
                return Outcome(Kind.DIED, reason=f"the process died ({_cause(code)})")
            last = time.monotonic()
            if kind == "news":
                if value is not None:
                    heard(value)
            elif kind is Kind.DONE:
                return Outcome(kind, value)
            else:
                if kind is Kind.UNSOUND:
                    self.stop()
                return Outcome(kind, reason=value)


def _cause(code: int | None) -> str:
    if code is not None and code < 0:
        with suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"


def _is_of_room(error: BaseException | None) -> bool:
    """Whether a full disk is the cause of an exception."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__
    return False


def _serve(
    connection: Connection, open_worker: Callable[[Tell], Worker], explain: Callable[[BaseException], str]
) -> None:
    """The process: opens the worker and does jobs until its parent is gone."""
    follow_parent()
    last = 0.0

    def tell(news: Any = None) -> None:
        nonlocal last
        if news is not None or time.monotonic() - last > _BEAT:
            last = time.monotonic()
            connection.send(("news", news))

    worker: Worker | None = None
    while True:
        try:
            if worker is None:
                worker, found = open_worker(tell), None
            else:
                found = worker.answer(connection.recv(), tell)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return
        except Exception as error:
            # A worker that cannot be opened is of no more use than one that is unsound.
            ended = worker is None or isinstance(error, UnsoundError)
            kind = Kind.UNSOUND if ended else Kind.BLOCKED if _is_of_room(error) else Kind.FAILED
            connection.send((kind, explain(error)))
            if ended:
                return
            continue
        connection.send((Kind.DONE, found))
