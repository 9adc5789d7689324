"""The queue of jobs: what was asked and how it stands, in SQLite. How far a job is, its plan and parts say."""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from rsvl.runtime.errors import OutputError
from rsvl.runtime.service.problems import NO_JOB, RequestError

ACCEPTED, RUNNING, SUCCESSFUL, FAILED, DISMISSED = STATUSES = (
    "accepted",
    "running",
    "successful",
    "failed",
    "dismissed",
)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    process TEXT NOT NULL,
    status TEXT NOT NULL,
    inputs TEXT NOT NULL,
    message TEXT NOT NULL DEFAULT '',
    problem INTEGER NOT NULL DEFAULT 0,
    deaths INTEGER NOT NULL DEFAULT 0,
    created TEXT NOT NULL,
    started TEXT,
    finished TEXT,
    updated TEXT NOT NULL
)
"""
_COLUMNS = "id, process, status, inputs, message, problem, deaths, created, started, finished, updated"


@dataclass(frozen=True)
class Job:
    """A job.

    Attributes:
        id: its name.
        process: the bundle's name.
        status: of OGC API - Processes.
        inputs: what is asked, as JSON has it.
        message: for people.
        problem: the HTTP status of a failed one's results.
        deaths: how often its process has died.
        created: when it was accepted, in UTC, as are the others.
        started: when it began to run first.
        finished: when it ended.
        updated: when its status changed last.
    """

    id: str
    process: str
    status: str
    inputs: dict[str, Any]
    message: str
    problem: int
    deaths: int
    created: str
    started: str | None
    finished: str | None
    updated: str


class Jobs:
    """The jobs of a state folder, each with a folder of its own for parts and results."""

    def __init__(self, folder: Path) -> None:
        """Opens the queue; what was running when a server ended waits again.

        Raises:
            OutputError: the folder cannot be used.
        """
        self._folder = folder
        self._lock = threading.RLock()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(folder / "jobs.sqlite", check_same_thread=False, isolation_level=None)
            with self._changing():
                self._base.execute("PRAGMA journal_mode=WAL")
                self._base.execute("PRAGMA synchronous=FULL")
                self._base.execute(_SCHEMA)
                self._base.execute("UPDATE jobs SET status = ? WHERE status = ?", (ACCEPTED, RUNNING))
        except (OSError, sqlite3.Error) as error:
            raise OutputError(f"{folder}: cannot be used for jobs ({error}): choose another --state") from error

    def close(self) -> None:
        """Ends the use of the queue."""
        with self._lock:
            self._base.close()

    def folder_of(self, job_id: str) -> Path:
        """The folder of a job."""
        return self._folder / job_id

    def add(self, process: str, inputs: dict[str, Any], most: int, job_id: str) -> Job:
        """Accepts a job whose folder, if it needs one, is there.

        Raises:
            RequestError: as many wait as may (429).
        """
        now = _now()
        with self._changing():
            (waiting,) = self._base.execute("SELECT count(*) FROM jobs WHERE status = ?", (ACCEPTED,)).fetchone()
            if waiting >= most:
                raise RequestError(
                    429, f"{waiting} jobs are waiting already: send it again later", headers={"Retry-After": "60"}
                )
            self._base.execute(
                "INSERT INTO jobs (id, process, status, inputs, created, updated) VALUES (?, ?, ?, ?, ?, ?)",
                (job_id, process, ACCEPTED, json.dumps(inputs), now, now),
            )
        return self.find(job_id)

    def find(self, job_id: str) -> Job:
        """The job of an id.

        Raises:
            RequestError: there is none.
        """
        found = self._select("WHERE id = ?", job_id)
        if not found:
            raise RequestError(404, f"no job is called {job_id[:100]!r}: GET /jobs lists them", NO_JOB)
        return found[0]

    def listed(self, most: int, status: list[str], process: list[str]) -> list[Job]:
        """The newest jobs, of some statuses and processes, of all where none is named."""
        conditions, values = [], list[str]()
        for column, wanted in (("status", status), ("process", process)):
            if wanted:
                conditions.append(f"{column} IN ({', '.join('?' * len(wanted))})")
                values += wanted
        where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
        return self._select(f"{where}ORDER BY number DESC LIMIT {int(most)}", *values)

    def counts(self) -> dict[str, int]:
        """How many jobs there are of each status."""
        with self._changing():
            found = dict(self._base.execute("SELECT status, count(*) FROM jobs GROUP BY status").fetchall())
        return {status: found.get(status, 0) for status in STATUSES}

    def next(self) -> Job | None:
        """The job that has waited longest, set running; None where none waits."""
        with self._changing():
            found = self._select("WHERE status = ? ORDER BY number LIMIT 1", ACCEPTED)
            if not found:
                return None
            self._base.execute(
                "UPDATE jobs SET status = ?, started = coalesce(started, ?), updated = ? WHERE id = ?",
                (RUNNING, _now(), _now(), found[0].id),
            )
        return self.find(found[0].id)

    def finish(self, job_id: str, status: str, message: str = "", problem: int = 0) -> None:
        """Ends a running job, or one that waits; one that has ended stays as it is."""
        self._set(job_id, "status = ?, message = ?, problem = ?, finished = ?", status, message, problem, _now())

    def park(self, job_id: str, message: str, died: bool = False) -> None:
        """Lets a running job wait again."""
        self._set(job_id, "status = ?, message = ?, deaths = deaths + ?", ACCEPTED, message, int(died))

    def dismiss(self, job_id: str) -> Job:
        """Ends a job and removes its folder; one that has ended loses its results.

        Raises:
            RequestError: there is none.
        """
        self.find(job_id)
        with self._changing():
            self._base.execute(
                "UPDATE jobs SET status = ?, message = '', finished = coalesce(finished, ?), updated = ? WHERE id = ?",
                (DISMISSED, _now(), _now(), job_id),
            )
        return self.find(job_id)

    def remove_files(self, job_id: str) -> None:
        """Removes a job's folder."""
        shutil.rmtree(self.folder_of(job_id), ignore_errors=True)

    def purge(self, days: float) -> None:
        """Forgets jobs that ended so many days ago, and removes folders that belong to none."""
        limit = (datetime.now(timezone.utc) - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
        with self._changing():
            self._base.execute("DELETE FROM jobs WHERE finished < ?", (limit,))
            kept = {job_id for (job_id,) in self._base.execute("SELECT id FROM jobs WHERE status != ?", (DISMISSED,))}
        for path in self._folder.iterdir():
            if path.is_dir() and path.name not in kept:
                shutil.rmtree(path, ignore_errors=True)

    def _set(self, job_id: str, assignments: str, *values: Any) -> None:
        with self._changing():
            self._base.execute(
                f"UPDATE jobs SET {assignments}, updated = ? WHERE id = ? AND status IN (?, ?)",
                (*values, _now(), job_id, ACCEPTED, RUNNING),
            )

    def _select(self, rest: str, *values: str) -> list[Job]:
        with self._changing():
            rows = self._base.execute(f"SELECT {_COLUMNS} FROM jobs {rest}", values).fetchall()
        return [_job(dict(zip(_COLUMNS.split(", "), row, strict=True))) for row in rows]

    @contextmanager
    def _changing(self) -> Iterator[None]:
        try:
            with self._lock, self._base:
                yield
        except sqlite3.Error as error:
            raise OutputError(f"the queue of jobs cannot be used ({error}): free space on its disk") from error


def _job(row: dict[str, Any]) -> Job:
    return Job(**{**row, "inputs": json.loads(row["inputs"])})


def new_id() -> str:
    """A job's id that nobody can guess."""
    return str(uuid.uuid4())


def _now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
