"""A worker that crashes, hangs or fails is noticed, and the next job is done all the same."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from rsvl.runtime.watch.supervisor import Kind, Supervisor
from tests.runtime.watch.workers import Obedient, explain


@pytest.fixture(scope="module")
def supervisor() -> Iterator[Supervisor]:
    supervisor = Supervisor(Obedient(), explain, stall=0.5)
    yield supervisor
    supervisor.stop()


@pytest.mark.parametrize(
    ("job", "kind", "reason", "restarts"),
    [
        ("fine", Kind.DONE, "", 0),
        ("fail", Kind.FAILED, "ValueError: a damaged file", 0),
        ("slow", Kind.DONE, "", 0),  # longer than the limit, but never without news for so long
        ("crash", Kind.DIED, "the process died (SIGSEGV)", 1),
        ("unsound", Kind.UNSOUND, "UnsoundError: the golden test gives other bits", 1),
        ("hang", Kind.STALLED, "no progress for 0.5 s: the process was killed", 1),
    ],
)
def test_job_ends_as_it_ends_and_the_next_is_done(
    supervisor: Supervisor, job: str, kind: Kind, reason: str, restarts: int
) -> None:
    supervisor.stall = 20.0
    assert supervisor.start().kind is Kind.DONE
    before, supervisor.stall = supervisor.started, 0.5
    outcome = supervisor.ask(job, lambda news: None)
    assert (outcome.kind, outcome.reason) == (kind, reason)
    supervisor.stall, heard = 20.0, []
    outcome = supervisor.ask("next", heard.append)
    assert (outcome.kind, outcome.value, heard) == (Kind.DONE, "NEXT", [{"parts": ["next"]}])
    assert supervisor.started - before == restarts


def test_worker_that_cannot_be_opened_is_unsound() -> None:
    supervisor = Supervisor(Obedient(broken=True), explain, 20.0)
    outcome = supervisor.ask("fine", lambda news: None)
    assert (outcome.kind, outcome.reason) == (Kind.UNSOUND, "ValueError: no such bundle") and supervisor.pid is None


def test_stopping_ends_the_process() -> None:
    supervisor = Supervisor(Obedient(), explain, 20.0)
    supervisor.start()
    pid = supervisor.pid
    assert pid is not None
    supervisor.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
