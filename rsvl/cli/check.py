"""`rsvl check`: whether a bundle is intact and computes on this device what the export computed."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from rsvl.cli import options
from rsvl.cli.console import print_json, print_line, print_note
from rsvl.runtime.errors import VerificationError

if TYPE_CHECKING:
    from rsvl.runtime.check import CheckReport


def check(
    bundle: options.Bundle,
    provider: options.Provider = None,
    threads: options.Threads = None,
    json: options.Json = False,
) -> None:
    """Check a bundle: schema, hashes, golden test on this device."""
    from rsvl.runtime.check import check as run

    report = run(bundle, provider, threads)
    if json:
        print_json({**asdict(report), "passed": report.passed})
    else:
        print_line(
            f"{bundle}: {report.model} in {report.precision}, {report.files} files as exported\n"
            f"golden test on {report.provider}: {', '.join(map(str, report.measures))}, "
            f"{report.seconds * 1000:.0f} ms"
        )
    if report.lack:
        print_note(f"warning: the golden test says little: {report.lack}")
    if not report.passed:
        raise VerificationError(f"{bundle}: the golden test fails on {report.provider}: {_remedy(report)}")


def _remedy(report: CheckReport) -> str:
    from rsvl.runtime.tasks.agreement import DIFFERING

    failed = {measure.name for measure in report.measures if not measure.passed}
    if failed == {DIFFERING}:
        return "every sample gives the same output, the model is dead: train it again or export other weights"
    return "update its driver or choose another --provider"
