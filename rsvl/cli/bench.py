"""`rsvl bench`: how fast a bundle is here; or a paper's table beside what is counted and measured here."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from rsvl.cli import options
from rsvl.cli.bench_bundle import measure_bundle
from rsvl.cli.bench_table import list_tables, show_table
from rsvl.cli.outputs import check_can_be_folder, check_folders
from rsvl.cli.unused_options import refuse_given
from rsvl.runtime.errors import UsageError

_BUNDLE, _TABLE = "With a BUNDLE", "With --table"
_OF_BUNDLE = {"provider", "batch", "peers", "compiled", "model", "weights"}
_OF_TABLE = {"speed", "abscissa", "ordinate"}
_OF_BOTH = {"plot", "rounds", "threads", "results"}
_OF_PEERS = {"model", "weights", "compiled"}
_OF_SPEED = {"rounds", "threads"}
_OF_PICTURE = {"abscissa", "ordinate"}


class Abscissa(str, Enum):
    """What a picture's bubbles are placed by from left to right."""

    FPS = "fps"
    FLOPS = "flops"


class Ordinate(str, Enum):
    """What they are placed by from bottom to top."""

    OIOU = "oiou"
    MIOU = "miou"


def bench(
    context: typer.Context,
    bundle: Annotated[
        Path | None, typer.Argument(metavar="BUNDLE", help="The bundle to measure: a folder or a packed .rsvl file.")
    ] = None,
    table: Annotated[str | None, typer.Option("--table", help="A paper's table (--list names them).")] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the papers' tables.")] = False,
    provider: options.Provider = None,
    batch: Annotated[
        list[int] | None,
        typer.Option(
            min=1, help="Batch to measure throughput of; repeatable. Default: 1 to 8.", rich_help_panel=_BUNDLE
        ),
    ] = None,
    peers: Annotated[
        bool,
        typer.Option(
            "--peers",
            help="Also measure PyTorch, torch.compile, a plain ONNX export, OpenVINO. Needs the extra export.",
            rich_help_panel=_BUNDLE,
        ),
    ] = False,
    compiled: Annotated[
        bool, typer.Option("--compile/--no-compile", help="torch.compile among the peers.", rich_help_panel=_BUNDLE)
    ] = True,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="What the bundle was made from. Default: the model it names.", rich_help_panel=_BUNDLE
        ),
    ] = None,
    weights: options.Weights = None,
    speed: Annotated[
        bool,
        typer.Option(
            "--speed",
            help="Measure the table's models here and keep the record; minutes for full sizes. Needs the extra export.",
            rich_help_panel=_TABLE,
        ),
    ] = False,
    abscissa: Annotated[
        Abscissa | None,
        typer.Option(help="The picture's abscissa. Default: fps where all rows have it.", rich_help_panel=_TABLE),
    ] = None,
    ordinate: Annotated[
        Ordinate | None,
        typer.Option(help="The picture's accuracy. Default: the one that more rows have.", rich_help_panel=_TABLE),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw a picture: a .png or .svg file. Needs the extra bench.")
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="How often each way is timed. Default: 15; for a table's models 5.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads of every way. Default: all cores of this process.")
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(
            help="Folder of records: a bundle's report is written there; a table's speeds are kept and found there, by "
            "default in benchmarks/results."
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Measure a bundle, or show a paper's table beside what is counted here.

    With a BUNDLE: latency, stages, throughput, memory, the machine's ceilings.

    With --table: parameters and FLOPs, published and ours, in every convention,
    and the speed measured on this hardware, where there is a record of it.
    """
    given = [name for name, value in (("BUNDLE", bundle), ("--table", table), ("--list", list_)) if value]
    if len(given) != 1:
        chosen = f"{' and '.join(given)} do not go together" if given else "nothing to measure"
        raise UsageError(f"{chosen}: name a BUNDLE, or a --table, or --list the tables")
    strays = _OF_TABLE if bundle else _OF_BUNDLE if table else _OF_BUNDLE | _OF_TABLE | _OF_BOTH
    refuse_given(context, strays, f"does not go with {'a BUNDLE' if bundle else given[0]}: see rsvl bench --help")
    if not peers:
        refuse_given(context, _OF_PEERS, "says how the peers are made: add --peers")
    if table is not None and not speed:
        refuse_given(context, _OF_SPEED, "says how a table's models are timed: add --speed")
    if plot is None:
        refuse_given(context, _OF_PICTURE, "says what the picture shows: add --plot")
    check_folders(plot)
    check_can_be_folder(results, "--results")
    if list_:
        list_tables(json)
    elif table is not None:
        axes = (abscissa.value if abscissa else None, ordinate.value if ordinate else None)
        show_table(table, speed, rounds or 5, threads, results, plot, axes, json)
    elif bundle is not None:
        made = {"model": model, "weights": weights, "compiled": compiled} if peers else None
        measure_bundle(bundle, provider, threads, rounds or 15, batch, made, results, plot, json)
