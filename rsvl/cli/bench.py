"""`rsvl bench`: a paper's table beside what is counted and measured here."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rsvl.cli import options
from rsvl.cli.bench_table import list_tables, show_table
from rsvl.runtime.errors import UsageError


class Abscissa(StrEnum):
    """What a picture's bubbles are placed by from left to right."""

    FPS = "fps"
    FLOPS = "flops"


class Ordinate(StrEnum):
    """What they are placed by from bottom to top."""

    OIOU = "oiou"
    MIOU = "miou"


def bench(
    table: Annotated[str | None, typer.Option("--table", help="A paper's table (--list names them).")] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the papers' tables.")] = False,
    speed: Annotated[
        bool,
        typer.Option("--speed", help="Measure the table's models here and keep the record; minutes for full sizes."),
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Draw accuracy against efficiency: a .png or .svg file. Needs rsvl[bench].")
    ] = None,
    abscissa: Annotated[
        Abscissa | None, typer.Option(help="The picture's abscissa. Default: images a second where there are any.")
    ] = None,
    ordinate: Annotated[
        Ordinate | None, typer.Option(help="The picture's accuracy. Default: the one that more rows have.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often each way is timed.")] = 5,
    threads: options.Threads = None,
    results: Annotated[Path, typer.Option(help="Folder of the records of speed.")] = Path("benchmarks/results"),
    json: options.Json = False,
) -> None:
    """Show a paper's table beside what is counted here.

    Prints Markdown: parameters and FLOPs, published and ours, in every convention of counting; and the speed measured
    on this hardware, where there is a record of it.
    """
    if list_:
        list_tables(json)
    elif table is not None:
        axes = (abscissa.value if abscissa else None, ordinate.value if ordinate else None)
        show_table(table, speed, rounds, threads, results, plot, axes, json)
    else:
        raise UsageError("nothing to show: name a --table, or --list them")
