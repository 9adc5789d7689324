"""Threads that run short requests, a few at once, behind a queue of limited length."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from rsvl.runtime.progress import Progress
from rsvl.runtime.service.problems import RequestError

T = TypeVar("T")
_SLOW_CHANGE = 0.1
"""The weight of the last request in the mean duration."""


class AbandonedError(Exception):
    """Nobody waits for the answer any more."""


@dataclass(eq=False)
class _Ticket:
    work: Callable[[Progress], Any]
    result: Future[Any] = field(default_factory=Future)
    is_abandoned: bool = False
    started: float | None = None

    def progress(self, done: float, total: float, stage: str = "", detail: str = "") -> None:
        """Ends work that nobody waits for, at the next tile."""
        if self.is_abandoned:
            raise AbandonedError


class Lanes:
    """Runs work in threads. They are daemons: a graph that hangs does not keep the process from ending."""

    def __init__(self, count: int, queue: int, seconds: float) -> None:
        """Starts the threads.

        Args:
            count: how many run at once.
            queue: how many may wait.
            seconds: in which work must be done, waiting included.
        """
        self._count, self._queue, self._seconds = count, queue, seconds
        self._changed = threading.Condition()
        self._waiting: deque[_Ticket] = deque()
        self._running: list[_Ticket] = []
        self._mean = 0.05
        for number in range(count):
            threading.Thread(target=self._serve, name=f"lane-{number}", daemon=True).start()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """How many run."""
        return len(self._running)

    @property
    def stuck(self) -> bool:
        """Whether every thread is busy with work that should have ended long ago."""
        limit = time.monotonic() - 2 * self._seconds
        with self._changed:
            late = [each for each in self._running if each.started is not None and each.started < limit]
        return len(late) == self._count

    async def run(self, work: Callable[[Progress], T], left: Callable[[], Awaitable[Any]] | None = None) -> T:
        """Runs work in one of the threads.

        Args:
            work: called with a progress that ends it when nobody waits any more.
            left: returns when the client has gone.

        Raises:
            RequestError: too many wait (429), it began too late (503), it took too long (504).
            AbandonedError: the client has gone.
        """
        ticket = self._queued(work)
        result: Any = asyncio.wrap_future(ticket.result)
        waits = {result} if left is None else {result, asyncio.ensure_future(left())}
        try:
            done, _ = await asyncio.wait(waits, timeout=self._seconds, return_when=asyncio.FIRST_COMPLETED)
            if result in done:
                return result.result()  # type: ignore[no-any-return]
            if done:
                raise AbandonedError
            raise self._late(ticket)
        finally:
            self._abandon(ticket)
            for each in waits:
                each.cancel()

    def _queued(self, work: Callable[[Progress], Any]) -> _Ticket:
        with self._changed:
            if len(self._waiting) >= self._queue:
                wait = max(1, math.ceil(self._mean * len(self._waiting) / self._count))
                raise RequestError(
                    429,
                    f"{len(self._waiting)} requests are waiting already: ask again in {wait} s",
                    headers={"Retry-After": str(wait)},
                )
            ticket = _Ticket(work)
            self._waiting.append(ticket)
            self._changed.notify()
        return ticket

    def _late(self, ticket: _Ticket) -> RequestError:
        if ticket.started is None:
            return RequestError(
                503,
                f"not begun within {self._seconds:g} s: the server is busy, ask again later",
                headers={"Retry-After": str(math.ceil(self._seconds))},
            )
        remedy = "give a smaller image or fewer sentences, or send a job"
        return RequestError(504, f"not done within {self._seconds:g} s: {remedy}")

    def _abandon(self, ticket: _Ticket) -> None:
        with self._changed:
            ticket.is_abandoned = True
            if ticket in self._waiting:
                self._waiting.remove(ticket)

    def _serve(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                ticket = self._waiting.popleft()
                ticket.started = time.monotonic()
                self._running.append(ticket)
            self._do(ticket)
            with self._changed:
                self._running.remove(ticket)
                self._mean += _SLOW_CHANGE * (time.monotonic() - ticket.started - self._mean)

    @staticmethod
    def _do(ticket: _Ticket) -> None:
        if not ticket.result.set_running_or_notify_cancel():
            return
        try:
            found = ticket.work(ticket.progress)
        except BaseException as error:
            ticket.result.set_exception(error)
        else:
            ticket.result.set_result(found)
