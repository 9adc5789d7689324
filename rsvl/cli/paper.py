"""`rsvl paper`: the papers' efficiency tables beside what is counted and measured here."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from rsvl.cli import completion, options
from rsvl.cli.console import print_json, print_line, print_note, print_table, progress
from rsvl.cli.outputs import check_can_be_folder, check_folders
from rsvl.cli.unused_options import refuse_unused
from rsvl.runtime.errors import UsageError

_OF_TABLE = {"speed", "rounds", "threads", "results", "plot", "x_axis", "y_axis"}
_OF_SPEED = {"rounds", "threads"}
_OF_PLOT = {"x_axis", "y_axis"}


class XAxis(str, Enum):
    """What a plot's x axis shows."""

    FPS = "fps"
    FLOPS = "flops"


class YAxis(str, Enum):
    """What its y axis shows."""

    OIOU = "oiou"
    MIOU = "miou"
    TOP1 = "top1"
    F1 = "f1"


def paper(
    context: typer.Context,
    table: Annotated[
        str | None,
        typer.Argument(
            metavar="TABLE", help="A paper's table. Default: list the tables.", autocompletion=completion.tables
        ),
    ] = None,
    speed: Annotated[
        bool,
        typer.Option(
            "--speed",
            help="Measure the table's models here and keep the record; minutes for full sizes. Needs the extra export.",
        ),
    ] = False,
    rounds: Annotated[int, typer.Option("--rounds", metavar="N", min=1, help="Timing rounds of --speed.")] = 5,
    threads: Annotated[
        int | None, typer.Option("--threads", metavar="N", min=1, help="CPU threads of --speed. Default: all cores.")
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(
            "--results", metavar="DIR", help="Folder of the records of speed. Default: benchmarks/results in this one."
        ),
    ] = None,
    plot: options.Plot = None,
    x_axis: Annotated[
        XAxis | None, typer.Option("--x-axis", help="Of the plot. Default: fps where all rows have it.")
    ] = None,
    y_axis: Annotated[
        YAxis | None, typer.Option("--y-axis", help="Of the plot. Default: the accuracy that more rows have.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Show a paper's efficiency table beside ours, or list the tables.

    Parameters and FLOPs, published and ours, in every convention, and the speed
    measured on this hardware, where there is a record of it.
    """
    if table is None:
        refuse_unused(context, _OF_TABLE, "needs a TABLE: rsvl paper lists them")
    if not speed:
        refuse_unused(context, _OF_SPEED, "says how a table's models are timed: add --speed")
    if plot is None:
        refuse_unused(context, _OF_PLOT, "says what the plot shows: add --plot")
    check_folders(plot)
    check_can_be_folder(results, "--results")
    if table is None:
        _list_tables(json)
    else:
        axes = (x_axis.value if x_axis else None, y_axis.value if y_axis else None)
        _show_table(table, speed, rounds, threads, results, plot, axes, json)


def _show_table(
    name: str,
    speed: bool,
    rounds: int,
    threads: int | None,
    results: Path | None,
    plot: Path | None,
    axes: tuple[str | None, str | None],
    json: bool,
) -> None:
    """Prints a table with the speed on record, or measured now, and plots it."""
    from rsvl.benchmarks.papers.published import read
    from rsvl.benchmarks.papers.speed_record import keep, recorded
    from rsvl.benchmarks.plot import check_drawable
    from rsvl.benchmarks.records import RESULTS

    published, folder = read(name), results or RESULTS
    if plot is not None:
        check_drawable(plot)  # before all that takes time
    record = _measure(published, rounds, threads) if speed else recorded(name, folder)
    with progress(f"counting the models of {name}"):
        from rsvl.benchmarks.papers.report import counted

        table = counted(published, record)
    if speed and record is not None:
        print_note(f"wrote {keep(record, folder)}")
    if plot is not None:
        from rsvl.benchmarks.papers.scatter_plot import draw

        print_note(f"wrote {plot}: {', '.join(draw(table, plot, *axes))}")
    if json:
        print_json(table.to_dict())
    else:
        print_line(table.to_markdown(), end="")


def _list_tables(json: bool) -> None:
    from rsvl.benchmarks.papers.published import read, tables

    found = [read(name) for name in tables()]
    if json:
        names = ("name", "title", "source")
        listed = [{name: getattr(table, name) for name in names} | _sizes(table) for table in found]
        print_json({"tables": listed})
        return
    rows = [[table.name, table.title, *map(str, _sizes(table).values())] for table in found]
    print_table(["table", "title", "rows", "quoted figures"], rows)


def _measure(published: Any, rounds: int, threads: int | None) -> Any:
    if not any(row.model for row in published.rows):
        raise UsageError(f"{published.name} has no model of ours to measure: choose another table (rsvl paper)")
    with progress("loading PyTorch") as report:
        from rsvl.benchmarks.papers.table_speed import measure

        return measure(published, rounds, threads, report)


def _sizes(table: Any) -> dict[str, int]:
    return {"rows": len(table.rows), "figures": len(table.figures)}
