"""Runs the jobs of a queue, one after the other, each in a process of its own."""

from __future__ import annotations

import logging
import multiprocessing
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from rsvl.runtime.processes import end
from rsvl.runtime.service.job_process import Order, run_job
from rsvl.runtime.service.jobs import DISMISSED, FAILED, RUNNING, SUCCESSFUL, Job, Jobs
from rsvl.runtime.service.limits import Limits
from rsvl.runtime.service.problems import problem_of

_TICK = 0.2
_MOST_DEATHS = 2
_PURGE_SECONDS = 3600.0
_SECONDS_TO_END = 2.0
log = logging.getLogger("rsvl.runtime.service")


@dataclass
class _Running:
    """The job that runs: how far it is, and its process."""

    job: Job
    process: BaseProcess
    told: Connection
    share: float = 0.0
    line: str = ""
    last: float = 0.0


class JobRunner:
    """A thread that takes job after job from the queue.

    A process that dies is started again, and goes on from the parts that are there, until it has died too often.
    """

    def __init__(
        self, jobs: Jobs, limits: Limits, order_of: Callable[[Job], Order], tiles: Callable[[str, float], None]
    ) -> None:
        """Takes what it needs; `start` begins.

        Args:
            jobs: the queue.
            limits: how long a job may stand still, and how long results are kept.
            order_of: what a job's process is to be told; raises a `RequestError` where it cannot be run any more.
            tiles: called with a bundle's name and how many tiles were run.
        """
        self._jobs, self._limits, self._order_of, self._tiles = jobs, limits, order_of, tiles
        self._running: _Running | None = None
        self._wake, self._stops = threading.Event(), threading.Event()
        self._purged = 0.0
        self._thread = threading.Thread(target=self._serve, name="jobs", daemon=True)

    def start(self) -> None:
        """Begins to run jobs."""
        self._thread.start()

    def wake(self) -> None:
        """Looks at the queue now."""
        self._wake.set()

    def stop(self) -> None:
        """Parks the job that runs; its parts stay."""
        self._stops.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(2 * _SECONDS_TO_END)

    def progress_of(self, job: Job) -> tuple[int, str]:
        """A job's progress in per cent, and a line for people."""
        running = self._running
        if job.status == RUNNING and running is not None and running.job.id == job.id:
            return int(100 * running.share), running.line
        return (100 if job.status == SUCCESSFUL else 0), job.message

    def _serve(self) -> None:
        while not self._stops.is_set():
            try:
                if time.monotonic() - self._purged > _PURGE_SECONDS or not self._purged:
                    self._jobs.purge(self._limits.keep_days)
                    self._purged = time.monotonic()
                job = self._jobs.next()
                if job is not None:
                    self._run(job)
                    continue
            except Exception:
                log.exception("the queue of jobs cannot be used")
            self._wake.wait(1.0)
            self._wake.clear()

    def _run(self, job: Job) -> None:
        try:
            order = self._order_of(job)
        except Exception as error:
            problem = problem_of(error)
            self._jobs.finish(job.id, FAILED, problem.detail, problem.status)
            return
        about = {"job": job.id, "bundle": job.process, "bundle_sha256": order.sha256}
        log.info("job started", extra={"about": about})
        context = multiprocessing.get_context("spawn")
        told, tells = context.Pipe(duplex=False)
        process = context.Process(target=run_job, args=(order, tells), name=f"job-{job.id}")
        process.start()
        tells.close()
        self._running = _Running(job, process, told, last=time.monotonic())
        try:
            outcome = self._follow(self._running)
        finally:
            end(process, _SECONDS_TO_END)
            told.close()
            self._running = None
        self._record(job, order, outcome)
        log.info(
            "job ended", extra={"about": about | {"status": self._jobs.find(job.id).status, "outcome": outcome[0]}}
        )

    def _follow(self, running: _Running) -> tuple[Any, ...]:
        """Waits for the end of a job: what its process told, or ``parked``, ``dismissed``, ``died`` or ``stalled``."""
        while True:
            try:
                if running.told.poll(_TICK):
                    message = running.told.recv()
                    if message[0] != "progress":
                        return message  # type: ignore[no-any-return]
                    _, running.share, running.line, tiles = message
                    running.last = time.monotonic()
                    self._tiles(running.job.process, tiles)
            except (EOFError, OSError):
                running.process.join(_SECONDS_TO_END)
                return "died", running.process.exitcode
            if self._stops.is_set():
                return ("parked",)
            if self._jobs.find(running.job.id).status != RUNNING:
                return ("dismissed",)
            if time.monotonic() - running.last > self._limits.stall_seconds:
                return "stalled", f"no progress for {self._limits.stall_seconds:g} s"

    def _record(self, job: Job, order: Order, outcome: tuple[Any, ...]) -> None:
        if self._jobs.find(job.id).status == DISMISSED:  # perhaps in the moment in which it ended
            self._jobs.remove_files(job.id)
        elif outcome[0] == "done":
            self._jobs.finish(job.id, SUCCESSFUL)
            _remove_sources(order)
        elif outcome[0] == "failed":
            _, status, line, reason = outcome
            log.error("job failed", extra={"about": {"job": job.id, "bundle": job.process, "traceback": reason}})
            self._jobs.finish(job.id, FAILED, line, status)
        elif outcome[0] == "parked":
            self._jobs.park(job.id, "parked: it goes on when the server is there again")
        elif job.deaths < _MOST_DEATHS:
            self._jobs.park(job.id, f"its process {outcome[0]} ({outcome[1]}): it goes on from its parts", died=True)
        else:
            reason = f"its process {outcome[0]} {job.deaths + 1} times, last with {outcome[1]}: ask for fewer sentences"
            self._jobs.finish(job.id, FAILED, f"{reason}, or see the server's log", 500)


def _remove_sources(order: Order) -> None:
    """Removes what a finished job needs no more: its parts, and the scene that was sent with it."""
    shutil.rmtree(order.parts, ignore_errors=True)
    for path in order.images.values():
        if path.parent == order.folder:
            path.unlink(missing_ok=True)
