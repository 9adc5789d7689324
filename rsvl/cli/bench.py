"""`rsvl bench`: how fast a bundle is here, beside other runtimes of its model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rsvl.cli import completion, options
from rsvl.cli.console import print_json, print_line, print_note, progress
from rsvl.cli.outputs import check_can_be_folder, check_folders
from rsvl.cli.unused_options import refuse_unused

if TYPE_CHECKING:
    from rsvl.benchmarks.bundle.report import BundleSpeed

_OF_BASELINES = {"model", "weights", "compiled"}


def bench(
    context: typer.Context,
    bundle: options.Bundle,
    provider: options.Provider = None,
    batch_size: Annotated[
        list[int] | None,
        typer.Option(
            "--batch-size", metavar="N", min=1, help="Batch size to measure throughput of; repeatable. Default: 1 to 8."
        ),
    ] = None,
    baselines: Annotated[
        bool,
        typer.Option(
            "--baselines",
            help="Also measure PyTorch, torch.compile, a plain ONNX export and OpenVINO. Needs the extra export.",
        ),
    ] = False,
    compiled: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Include torch.compile among the baselines.")
    ] = True,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            help="Model that the bundle was made from. Default: the one it names.",
            autocompletion=completion.models,
        ),
    ] = None,
    weights: options.Weights = None,
    rounds: Annotated[int, typer.Option("--rounds", metavar="N", min=1, help="Timing rounds.")] = 15,
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads", metavar="N", min=1, help="CPU threads. Default: what rsvl tune chose, else all cores."
        ),
    ] = None,
    results: Annotated[
        Path | None, typer.Option("--results", metavar="DIR", help="Also write the report to this folder.")
    ] = None,
    plot: options.Plot = None,
    json: options.Json = False,
) -> None:
    """Measure a bundle's latency, throughput, memory and start-up.

    Also the stages of a question, and which share of the machine's own ceilings is reached.
    """
    if not baselines:
        refuse_unused(context, _OF_BASELINES, "says how the baselines are made: add --baselines")
    check_folders(plot)
    check_can_be_folder(results, "--results")
    from rsvl.benchmarks.bundle.markdown import markdown
    from rsvl.benchmarks.bundle.plot import draw
    from rsvl.benchmarks.bundle.speed import BATCHES, measure
    from rsvl.benchmarks.plot import check_drawable

    if plot is not None:
        check_drawable(plot)  # before all that takes time
    with progress(f"measuring {bundle}") as report:
        made = _baselines(model, weights, compiled) if baselines else None
        found = measure(bundle, provider, threads, rounds, batch_size or BATCHES, made, report)
    text = markdown(found)
    if results is not None:
        _write(found, text, results)
    if plot is not None:
        draw(found, plot)
        print_note(f"wrote {plot}")
    if json:
        print_json(found.to_dict())
    else:
        print_line(text, end="")


def _baselines(model: str | None, weights: str | None, compiled: bool) -> Any:
    from rsvl.export import export  # noqa: F401  # before all else: it names the extra that the baselines need

    # isort: split
    from rsvl.benchmarks.bundle.baselines import Options

    return Options(model=model, weights=weights, compiled=compiled)


def _write(found: BundleSpeed, text: str, folder: Path) -> None:
    """Writes `HARDWARE-MODEL-PRECISION.json` and `.md`."""
    from rsvl.benchmarks.records import file_stem, keep

    path = keep(found.to_dict(), text, folder, file_stem(found.hardware, found.model, found.precision))
    for written in (path, path.with_suffix(".md")):
        print_note(f"wrote {written}")
