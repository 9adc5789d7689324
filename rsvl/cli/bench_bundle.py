"""What `rsvl bench BUNDLE` does: how fast a bundle is here, beside other ways of running its model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from rsvl.cli.console import print_json, print_note, progress

if TYPE_CHECKING:
    from rsvl.benchmarks.bundle.report import BundleSpeed


def measure_bundle(
    bundle: Path,
    provider: str | None,
    threads: int | None,
    rounds: int,
    batches: list[int] | None,
    peers: dict[str, Any] | None,
    results: Path | None,
    plot: Path | None,
    json: bool,
) -> None:
    """Measures a bundle and prints the report.

    Args:
        bundle: its path.
        provider: as the runtime takes it.
        threads: CPU threads.
        rounds: how often each way is timed.
        batches: sizes whose throughput is measured; None takes the usual ones.
        peers: the arguments of `rsvl.benchmarks.bundle.baselines.Options`; None measures no peers.
        results: a folder to write the report to as well.
        plot: the picture's file.
        json: whether to print JSON.
    """
    from rsvl.benchmarks.bundle.markdown import markdown
    from rsvl.benchmarks.bundle.plot import draw
    from rsvl.benchmarks.bundle.speed import BATCHES, measure
    from rsvl.benchmarks.plot import check_drawable

    if plot is not None:
        check_drawable(plot)  # before all that takes time
    with progress(f"measuring {bundle}") as report:
        options = _options(peers)
        found = measure(bundle, provider, threads, rounds, batches or BATCHES, options, report)
    text = markdown(found)
    if results is not None:
        _write(found, text, results)
    if plot is not None:
        draw(found, plot)
        print_note(f"wrote {plot}")
    if json:
        print_json(found.to_dict())
    else:
        typer.echo(text, nl=False)


def _options(peers: dict[str, Any] | None) -> Any:
    if peers is None:
        return None
    import rsvl.export  # noqa: F401  # before all else: it names the extra that the peers need
    from rsvl.benchmarks.bundle.baselines import Options

    return Options(**peers)


def _write(found: BundleSpeed, text: str, folder: Path) -> None:
    """Writes `HARDWARE-MODEL-PRECISION.json` and `.md`."""
    from rsvl.benchmarks.records import file_stem, keep

    path = keep(found.to_dict(), text, folder, file_stem(found.hardware, found.model, found.precision))
    for written in (path, path.with_suffix(".md")):
        print_note(f"wrote {written}")
