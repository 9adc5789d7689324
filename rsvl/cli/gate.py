"""`rsvl gate`: red when a bundle is worse than its baseline."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rsvl.cli import options
from rsvl.cli.console import print_json, print_line, print_table, progress
from rsvl.cli.outputs import check_folders
from rsvl.runtime.atomic import write_text
from rsvl.runtime.errors import RegressionError, UndecidedError

if TYPE_CHECKING:
    from rsvl.gate import Verdict

GITHUB_SUMMARY = "GITHUB_STEP_SUMMARY"
_NAMED = 5


def gate(
    bundle: options.Bundle,
    baseline: Annotated[
        Path,
        typer.Option(
            "--baseline",
            metavar="BUNDLE|FILE",
            help="Baseline to compare against: a bundle, or a .json file that --record of gate or eval wrote.",
        ),
    ],
    data: options.Data,
    root: options.Root,
    split: options.EvaluatedSplit = "test",
    limit: options.Limit = None,
    sensor: options.OneSensor = None,
    max_drop: Annotated[
        str,
        typer.Option(
            "--max-drop",
            metavar="DROP",
            help="How much the primary metric may drop: 1% of the baseline's (MLPerf's 99 %), or 0.5 points.",
        ),
    ] = "1%",
    max_class_drop: Annotated[
        str,
        typer.Option(
            "--max-class-drop",
            metavar="DROP",
            help="How much it may drop per class, size, sensor or question type.",
        ),
    ] = "5%",
    min_agreement: Annotated[
        float | None,
        typer.Option(
            "--min-agreement",
            metavar="SHARE",
            min=0,
            max=1,
            help="Minimum mean agreement of the answers, 0 to 1. Default: report only.",
        ),
    ] = None,
    max_latency_ratio: Annotated[
        float | None,
        typer.Option(
            "--max-latency-ratio",
            metavar="RATIO",
            min=0,
            help="Maximum latency ratio to the baseline. Default: report only.",
        ),
    ] = None,
    max_size_ratio: Annotated[
        float | None,
        typer.Option(
            "--max-size-ratio",
            metavar="RATIO",
            min=0,
            help="Maximum size ratio to the baseline. Default: report only.",
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail on every metric beyond its limit, even where chance explains it.")
    ] = False,
    rounds: Annotated[
        int, typer.Option("--rounds", metavar="N", min=0, help="Timing rounds per bundle; 0 skips timing.")
    ] = 21,
    record: options.Record = None,
    junit: Annotated[
        Path | None,
        typer.Option("--junit", metavar="FILE", help="Write JUnit XML, one test case per line of the table."),
    ] = None,
    summary: Annotated[
        Path | None,
        typer.Option(
            "--summary",
            metavar="FILE",
            help=f"Write the table as Markdown. Default: appended to ${GITHUB_SUMMARY}, if set.",
        ),
    ] = None,
    provider: options.Provider = None,
    threads: options.Threads = None,
    json: options.Json = False,
) -> None:
    """Compare a bundle with a baseline; exit with 1 when it is worse, with 4 when it may be.

    A line fails when it is beyond its limit and its confidence interval excludes chance.
    """
    from rsvl.gate import GateConfig, Limits, write_record
    from rsvl.gate import gate as compare
    from rsvl.metrics.drop import Drop

    check_folders(record, junit, summary)
    limits = Limits(
        Drop.parse(max_drop, "--max-drop"),
        Drop.parse(max_class_drop, "--max-class-drop"),
        min_agreement,
        max_latency_ratio,
        max_size_ratio,
        strict,
    )
    only = sensor.value if sensor else None
    config = GateConfig(data, root, split, limit, only, rounds, provider, threads)
    with progress(f"loading {bundle}") as report:
        verdict, found = compare(bundle, baseline, config, limits, report)
    if record is not None:
        write_record(found, record)
    _write_reports(verdict, junit, summary)
    if json:
        print_json(verdict.to_dict())
    else:
        _print(verdict)
    if not verdict.passed:
        titles = [line.title for line in verdict.red]
        more = f" and {len(titles) - _NAMED} more" if len(titles) > _NAMED else ""
        raise RegressionError(
            f"{bundle} is worse than its baseline ({', '.join(titles[:_NAMED])}{more}): keep more of it in float32, "
            "or allow more"
        )
    if verdict.unsure:
        unsure = ", ".join(line.title for line in verdict.unsure[:_NAMED])
        raise UndecidedError(f"{bundle} may be worse than its baseline ({unsure}): evaluate more images")


def _write_reports(verdict: Verdict, junit: Path | None, summary: Path | None) -> None:
    from rsvl.gate import reports

    if junit is not None:
        write_text(junit, reports.junit(verdict))
    if summary is not None:
        write_text(summary, reports.summary(verdict))
    elif os.environ.get(GITHUB_SUMMARY):
        reports.append(reports.summary(verdict), Path(os.environ[GITHUB_SUMMARY]))


def _print(verdict: Verdict) -> None:
    from rsvl.gate import reports

    title = f"{verdict.bundle} against {verdict.baseline}, {verdict.figure}"
    print_table(reports.COLUMNS, [reports.row(line) for line in verdict.lines], title)
    for line in verdict.remarks:
        print_line(line)
