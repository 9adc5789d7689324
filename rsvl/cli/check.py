"""`rsvl check`: whether a bundle is intact and computes on this device what the export computed."""

from __future__ import annotations

from dataclasses import asdict

from rsvl.cli import options
from rsvl.cli.console import print_json, print_line, print_note
from rsvl.runtime.errors import VerificationError


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
        raise VerificationError(
            f"{bundle}: the golden test fails on {report.provider}: update its driver or choose another --provider"
        )
