"""Runs the parts one after the other, prints the results and saves the record.

make gpu

The exit code is 1 if a part failed; a skipped part is not a failure.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import rsvl
from rsvl.benchmarks.laboratory.gpu.parts import PARTS, Part
from rsvl.benchmarks.laboratory.gpu.processes import log_of, run_part
from rsvl.benchmarks.laboratory.gpu.record import FAILED, SKIPPED, Outcome, Record, kept, markdown
from rsvl.benchmarks.records import RESULTS

_LOG_LINES = 30


def run_parts(parts: Sequence[Part], seconds: float) -> Record:
    """Runs parts, each within its own time limit and within the time left for all.

    Args:
        parts: in order.
        seconds: for all of them; parts that do not start in time are skipped.
    """
    until = time.monotonic() + seconds
    outcomes = []
    with tempfile.TemporaryDirectory() as scratch:
        for part in parts:
            print(f"{part.name} …", file=sys.stderr, flush=True)
            outcome = _run(part, Path(scratch), min(part.limit_s, until - time.monotonic()))
            print(f"{part.name}: {outcome.status} {outcome.reason}".rstrip(), file=sys.stderr, flush=True)
            outcomes.append(outcome)
    return Record(rsvl.__version__, tuple(outcomes))


def _run(part: Part, scratch: Path, limit_s: float) -> Outcome:
    if limit_s <= 0:
        return Outcome(part.name, part.title, SKIPPED, "no time was left", 0.0, [])
    outcome = run_part(part, scratch, limit_s)
    if outcome.status == FAILED:
        lines = log_of(part, scratch).read_text(encoding="utf-8", errors="replace").splitlines()
        print(*lines[-_LOG_LINES:], sep="\n", file=sys.stderr)
    return outcome


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs all parts or those named; returns the exit code."""
    machine, *others = PARTS
    known = {part.name: part for part in others}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=known, help="beside machine; repeatable; by default all")
    parser.add_argument("--minutes", type=float, default=8, help="for all parts")
    parser.add_argument("--results", type=Path, help=f"folder of the record; by default {RESULTS} if all parts run")
    given = parser.parse_args(arguments)
    record = run_parts([machine, *(known[name] for name in given.part or known)], 60 * given.minutes)
    print(markdown(record))
    folder = given.results or (None if given.part else RESULTS)
    if folder is not None and record.gpu:
        print(kept(record, folder), file=sys.stderr)
    return 1 if record.failed else 0


if __name__ == "__main__":
    sys.exit(main())
