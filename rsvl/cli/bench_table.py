"""What `rsvl bench --table` and `--list` do: the papers' tables beside what is counted and measured here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from rsvl.cli.console import print_json, print_note, print_table, progress
from rsvl.runtime.errors import UsageError


def list_tables(json: bool) -> None:
    """Prints the tables' names and titles."""
    from rsvl.benchmarks.papers.published import read, tables

    found = [read(name) for name in tables()]
    if json:
        names = ("name", "title", "source")
        listed = [{name: getattr(table, name) for name in names} | _sizes(table) for table in found]
        print_json({"tables": listed})
        return
    rows = [[table.name, table.title, *map(str, _sizes(table).values())] for table in found]
    print_table(["table", "title", "rows", "quoted figures"], rows)


def show_table(
    name: str,
    speed: bool,
    rounds: int,
    threads: int | None,
    results: Path | None,
    plot: Path | None,
    axes: tuple[str | None, str | None],
    json: bool,
) -> None:
    """Prints a table, with the speed measured before or now, and draws it.

    Args:
        name: the table's.
        speed: whether to measure now.
        rounds: how often each way is timed.
        threads: CPU threads.
        results: folder of the records of speed; None takes the usual one.
        plot: the picture's file.
        axes: abscissa and ordinate of the picture.
        json: whether to print JSON.
    """
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

        drawn = draw(table, plot, *axes)
        print_note(f"wrote {plot}: {', '.join(drawn)}")
    if json:
        print_json(table.to_dict())
    else:
        typer.echo(table.to_markdown(), nl=False)


def _measure(published: Any, rounds: int, threads: int | None) -> Any:
    if not any(row.model for row in published.rows):
        raise UsageError(f"{published.name} has no model of ours to measure: choose another (rsvl bench --list)")
    with progress("loading PyTorch") as report:
        from rsvl.benchmarks.papers.table_speed import measure

        return measure(published, rounds, threads, report)


def _sizes(table: Any) -> dict[str, int]:
    return {"rows": len(table.rows), "figures": len(table.figures)}
