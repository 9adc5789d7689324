"""The loop of `rsvl watch`: scenes that are whole are answered, and what became of each is kept.

A scene's results are made in a folder of its own and take their place together when they are whole. Then the scene's
record says that it is done. Ended at any instant, the next run finds the record as it was: a scene that is done is not
done again, one that was being done goes on with the parts that are there and ends with the same bytes.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rsvl.runtime.atomic import sync
from rsvl.runtime.errors import DeviceError, OutputError
from rsvl.runtime.watch.downlink import Answered, write_package
from rsvl.runtime.watch.inbox import Arrival, Inbox
from rsvl.runtime.watch.records import DONE, SET_ASIDE, Record, Records
from rsvl.runtime.watch.supervisor import Kind, Outcome, Supervisor

STATE, DOWNLINK = "watch", "downlink"
_RESTARTS = 3
"""How often in a row the process may turn out unsound before the device counts as failed."""

Log = Callable[[str, dict[str, Any]], None]
"""Called with each event's name and what there is to say of it."""


@dataclass(frozen=True)
class Job:
    """What the worker is to do.

    Attributes:
        scene: the scene's file.
        stem: what the names of the results begin with.
        folder: where they are made; it holds what an earlier attempt left.
        parts: the parts among that which may be used, by their paths in `folder`; None for all.
    """

    scene: Path
    stem: str
    folder: Path
    parts: Sequence[str] | None


@dataclass(frozen=True)
class Limits:
    """How the work is bounded.

    Attributes:
        tries: attempts at a scene that get nowhere before it is set aside.
        keep_free: bytes that stay free on the disk: while there are fewer, no scene is begun.
        poll: seconds between two looks at the folder.
        downlink: bytes that are sent down; None for no package.
        period: seconds to which `downlink` belongs; None where it belongs to each scene.
    """

    tries: int = 3
    keep_free: int = 0
    poll: float = 1.0
    downlink: int | None = None
    period: float | None = None


@dataclass
class Watcher:
    """What watches a folder.

    Attributes:
        inbox: where scenes arrive.
        output: the folder of the results.
        supervisor: what does the work.
        limits: its bounds.
        log: what is told of each event.
        now: seconds since 1970.
    """

    inbox: Inbox
    output: Path
    supervisor: Supervisor
    limits: Limits
    log: Log
    now: Callable[[], float] = time.time
    records: Records = field(init=False)
    _obstacle: str = field(default="", init=False)
    _unsound: int = field(default=0, init=False)
    _blocked: set[str] = field(default_factory=set, init=False)
    _queue: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        """Reads the records.

        Raises:
            OutputError: the results' folder cannot be used.
        """
        self.records = Records(self.output / STATE / "records")
        for path in self.records.damaged:
            self.log("damaged record", {"file": str(path), "reason": "its scene is done again"})

    def run(self, once: bool = False) -> None:
        """Watches until the process is ended.

        Args:
            once: end when every scene that is there and whole is done or set aside.

        Raises:
            DeviceError: the process that does the work fails again and again, whatever it is given.
            OutputError: with `once`, the results' folder cannot be written or its disk is too full; without, what is in
                the way is told, and the work goes on when it is gone.
        """
        try:
            self._begin()
            while True:
                try:
                    is_idle = not self._step()
                    self._send_periods(ended=once and is_idle)
                    self._obstacle = ""
                except OutputError as error:
                    if once:
                        raise
                    is_idle = True
                    if str(error) != self._obstacle:
                        self.log("waiting", {"reason": str(error)})
                    self._obstacle = str(error)
                if is_idle and once and not self.inbox.unsettled:
                    return
                if is_idle:
                    time.sleep(self.limits.poll)
        finally:
            self.supervisor.stop()

    def set_aside(self) -> list[str]:
        """The names of the scenes that were set aside."""
        return sorted(record.name for record in self.records if record.state == SET_ASIDE)

    def _step(self) -> bool:
        """Attempts the next scene; False where there is none.

        Raises:
            OutputError: there is no room for its results, or they cannot be written.
        """
        arrival = self._next()
        if arrival is None:
            return False
        free = shutil.disk_usage(self.output).free
        if free < self.limits.keep_free:
            raise OutputError(
                f"{self.output}: {_mb(self.limits.keep_free)} are to stay free, and fewer are: free space; nothing is "
                "deleted here"
            )
        self._attempt(arrival)
        return True

    def _begin(self) -> None:
        """Opens the worker before the first scene is there: what is wrong with the bundle is told at once."""
        outcome = self.supervisor.start()
        if outcome.kind is not Kind.DONE:
            raise DeviceError(f"the work cannot begin: {outcome.reason}")
        self.log("ready", {"folder": str(self.inbox.folder), **self._state()})

    def _next(self) -> Arrival | None:
        """The scene to do next: of the least attempts, the largest priority, the earliest arrival."""
        open_ones: list[tuple[bool, int, float, int, Arrival]] = []
        for arrival in self.inbox.complete():
            record = self.records.of(arrival)
            if record.state not in (DONE, SET_ASIDE):
                is_blocked = record.name in self._blocked
                open_ones.append((is_blocked, record.attempts, -arrival.priority, len(open_ones), arrival))
        self._queue = max(0, len(open_ones) - 1)
        return min(open_ones)[-1] if open_ones else None

    def _attempt(self, arrival: Arrival) -> None:
        """Begins a scene, or goes on with it."""
        before = self.records.of(arrival)
        record = self.records.save(replace(before, attempts=before.attempts + 1, priority=arrival.priority))
        folder, started = self._pending(record), time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)
        self.log("begun", {"scene": record.name, "priority": record.priority, "attempt": record.attempts})
        had = _parts(folder)

        def heard(news: dict[str, Any]) -> None:
            nonlocal record
            if "parts" in news:
                record = self.records.save(replace(record, parts=news["parts"]))
            else:
                self.log("bundle damaged", news)

        try:
            outcome = self.supervisor.ask(Job(arrival.path, record.stem, folder, before.parts), heard)
            if outcome.kind is Kind.DONE:
                self._finish(record, outcome.value, time.monotonic() - started)
                return
            if outcome.kind is Kind.BLOCKED:
                self._block(record, outcome.reason)
                record = replace(record, attempts=before.attempts)
                self.records.save(record)
                return
        except BaseException:  # ended from outside, or no room: no fault of the scene's
            with suppress(OutputError):
                self.records.save(replace(record, attempts=before.attempts))
            raise
        self._fail(record, outcome, is_further=len(_parts(folder)) > len(had))

    def _finish(self, record: Record, about: dict[str, Any], seconds: float) -> None:
        self._unsound = 0
        self._blocked.discard(record.name)
        files = self._publish(self._pending(record), about["files"])
        record = self.records.save(replace(record, state=DONE, reason="", parts=None, finished=self.now(), about=about))
        shutil.rmtree(self._pending(record), ignore_errors=True)
        about.pop("answers", None)
        told = {**about, "files": [str(path) for path in files], **self._state()}
        self.log("done", {"scene": record.name, "seconds": round(seconds, 3), **told})
        if self.limits.downlink is not None and self.limits.period is None:
            self._send(record.stem, [record])

    def _block(self, record: Record, reason: str) -> None:
        """Lets a scene wait for which there is no room, behind those that may need less.

        Raises:
            OutputError: there is no other.
        """
        if record.name in self._blocked:
            raise OutputError(reason)
        self._blocked.add(record.name)
        self.log("waiting", {"scene": record.name, "reason": reason})

    def _fail(self, record: Record, outcome: Outcome, is_further: bool) -> None:
        """Counts a failed attempt, unless it got further or a full disk or an unsound process cut it short."""
        reason = outcome.reason
        if outcome.kind is Kind.UNSOUND:
            self._unsound += 1
            self.records.save(replace(record, attempts=record.attempts - 1, reason=reason))
            self.log("restarted", {"scene": record.name, "reason": reason})
            if self._unsound >= _RESTARTS:
                raise DeviceError(f"{reason} (for the {_RESTARTS}rd time in a row): check the bundle and the memory")
            return
        full = outcome.kind is Kind.FAILED and shutil.disk_usage(self.output).free < self.limits.keep_free
        attempts = record.attempts - 1 if full else 1 if is_further else record.attempts
        if attempts < self.limits.tries:
            self.records.save(replace(record, attempts=attempts, reason=reason))
            self.log("failed", {"scene": record.name, "attempt": record.attempts, "reason": reason})
            return
        self.records.save(replace(record, state=SET_ASIDE, reason=reason, finished=self.now()))
        shutil.rmtree(self._pending(record), ignore_errors=True)
        self.log("set aside", {"scene": record.name, "attempts": attempts, "reason": reason, **self._state()})

    def _publish(self, folder: Path, files: Sequence[str]) -> list[Path]:
        """Puts results in their place. What has these names already is of an earlier attempt at the scene."""
        placed = []
        try:
            for name in files:
                target = self.output / name
                target.parent.mkdir(parents=True, exist_ok=True)
                (folder / name).replace(target)
                placed.append(target)
            for parent in {path.parent for path in placed}:
                sync(parent)
        except OSError as error:
            raise OutputError(f"{self.output}: results cannot be put in place ({error.strerror})") from error
        return placed

    def _send_periods(self, ended: bool = False) -> None:
        """Sends down what belongs to periods that are over; `ended`: to the one that is not, too."""
        if self.limits.downlink is None or self.limits.period is None:
            return
        current, due = int(self.now() // self.limits.period), dict[int, list[Record]]()
        for record in self.records:
            period = int(record.finished // self.limits.period)
            if record.state == DONE and not record.package and (period < current or ended):
                due.setdefault(period, []).append(record)
        for period, records in sorted(due.items()):
            begun = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(period * self.limits.period))
            self._send(begun, sorted(records, key=lambda record: (record.finished, record.stem)))

    def _send(self, name: str, records: Sequence[Record]) -> None:
        assert self.limits.downlink is not None
        folder, scenes = self.output / DOWNLINK, []
        folder.mkdir(exist_ok=True)
        kept = {record.stem: self.records.about(record) for record in records}
        for record in records:
            about = kept[record.stem]
            files = [self.output / name for name in about["files"]]
            scenes.append(Answered(record.stem, record.priority, files, {"name": record.name, "found": about["found"]}))
        try:
            package = write_package(folder, name, scenes, self.limits.downlink)
        except OutputError as error:
            self.log("not sent", {"package": name, "reason": str(error)})
            return
        for record in records:
            self.records.save(replace(record, package=name, about=kept[record.stem]))
        self.log("sent", {"package": name, "scenes": len(records), **package.to_dict()})

    def _pending(self, record: Record) -> Path:
        return self.output / STATE / "pending" / record.stem

    def _state(self) -> dict[str, Any]:
        """What is told of the whole."""
        count = self.records.count()
        return {
            "queue": self._queue,
            "done": count.get(DONE, 0),
            "set_aside": count.get(SET_ASIDE, 0),
            "processes": self.supervisor.started,
            "memory_mb": _resident_mb(None),
            "worker_memory_mb": _resident_mb(self.supervisor.pid),
            "free_mb": round(shutil.disk_usage(self.output).free / 1e6),
        }


def _parts(folder: Path) -> list[Path]:
    return list(folder.rglob("part-*.npz"))


def _mb(size: float) -> str:
    return f"{size / 1e6:.1f} MB"


def _resident_mb(pid: int | None) -> float:
    """Megabytes of a process's memory, 0 where the system does not say; None is this one."""
    with suppress(OSError, ValueError):
        for line in Path(f"/proc/{'self' if pid is None else pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return round(int(line.split()[1]) / 1e3, 1)
    return 0.0
