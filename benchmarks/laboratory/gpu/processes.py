"""Runs a part in its own process, so that a crash, a hang or a leak affects nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from rsvl.benchmarks.laboratory.gpu.parts import Part
from rsvl.benchmarks.laboratory.gpu.record import FAILED, MEASURED, SKIPPED, Outcome
from rsvl.runtime.errors import MissingComponentError

_CHILD = "rsvl.benchmarks.laboratory.gpu.child"


def run_part(part: Part, scratch: Path, limit_s: float) -> Outcome:
    """Runs a part and waits for it.

    Args:
        part: the part.
        scratch: a folder that the parts share; a part's output is written there as ``NAME.log``.
        limit_s: seconds after which the part and everything that it started are killed.
    """
    rows, log = scratch / f"{part.name}.jsonl", log_of(part, scratch)
    command = [sys.executable, "-m", _CHILD, part.function, str(rows), str(scratch), *part.arguments]
    environment = os.environ | {"PYTHONFAULTHANDLER": "1"}
    started = time.perf_counter()
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            cwd=scratch,  # the repository's root has a folder rsvl that is not the whole package
            start_new_session=True,  # so that it can be killed with all that it starts
        )
        try:
            code = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    status, reason = _judged(code, limit_s, log)
    return Outcome(part.name, part.title, status, reason, time.perf_counter() - started, _rows(rows))


def log_of(part: Part, scratch: Path) -> Path:
    """The file with a part's output."""
    return scratch / f"{part.name}.log"


def _judged(code: int | None, limit_s: float, log: Path) -> tuple[str, str]:
    """A part's status by its exit code, and the reason if it was not measured."""
    if code == 0:
        return MEASURED, ""
    if code is None:
        return FAILED, f"stopped after {limit_s:.0f} s"
    if code < 0:
        return FAILED, f"ended by {signal.Signals(-code).name}"
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), f"ended with {code}")
    return (SKIPPED if code == MissingComponentError.exit_code else FAILED), last


def _rows(path: Path) -> list[dict[str, Any]]:
    """All complete lines; the last one may be truncated."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    except OSError:
        return []
    return [json.loads(line) for line in lines]
