"""Latency of a model in every way of running it, side by side in one run: PyTorch, a plain ONNX export, the bundle.

    python -m rsvl.benchmarks.latency --model cd2fsan

All ways take the same raw inputs, batch 1, on the CPU with the same number of threads. They are timed in turns (round
after round, each round beginning with another one), so that whatever else the machine does falls on all alike; medians
are compared. Speed is not shown without accuracy: each way's outputs are compared with PyTorch's by the task's own rule
(`rsvl.runtime.agreement`). A model whose operations have no plain form is measured without the plain export.

The second measurement asks the bundle eight sentences about one image, in one call, and by eight separate runs that
share nothing; both from pixels and words to answers. A module of the user's own has no sentences.
"""

from __future__ import annotations

import json
import os
import platform
import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from rsvl.benchmarks.markdown import markdown_table
from rsvl.benchmarks.ways import (
    ASK,
    EAGER,
    SENTENCES,
    Tensors,
    Whole,
    bundle_graphs,
    inputs_of,
    many_sentences,
    open_bundle,
    plain_onnx,
    pytorch,
)
from rsvl.checkpoints import load
from rsvl.export import export
from rsvl.runtime.agreement import compare
from rsvl.runtime.atomic import replacing
from rsvl.runtime.errors import RsvlError, UsageError
from rsvl.runtime.loading import load as load_bundle
from rsvl.runtime.manifest import ModelSpec

RESULTS = Path("benchmarks/results")


@dataclass(frozen=True)
class Timing:
    """One way's times.

    Attributes:
        way: what was run.
        median_ms, low_ms, high_ms: median, 10th and 90th percentile of its rounds, milliseconds.
        speedup: the first way's median divided by this one's.
        agreement: of its outputs with the first way's, by the latency's `agreement_is`; none where not compared.
    """

    way: str
    median_ms: float
    low_ms: float
    high_ms: float
    speedup: float
    agreement: float | None = None


@dataclass(frozen=True)
class Latency:
    """What one run measured.

    Attributes:
        model: the preset.
        weights: where its weights came from.
        hardware: the processor's name.
        threads: threads that each way could use.
        rounds: how often each way was timed.
        agreement_is: what compares outputs, such as ``mask IoU``.
        one: one of each raw input, all new.
        many: eight sentences about one image; empty for a module of the user's own.
        versions: of the packages.
    """

    model: str
    weights: str
    hardware: str
    threads: int
    rounds: int
    agreement_is: str
    one: tuple[Timing, ...]
    many: tuple[Timing, ...]
    versions: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)

    def to_markdown(self) -> str:
        """Both measurements as tables."""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        parts = [
            f"# Latency of {self.model} on {self.hardware}, {self.threads} threads",
            f"Batch 1, weights: {self.weights}. Medians of {self.rounds} interleaved rounds, 10th to 90th "
            f"percentile beside. {versions}.",
            "## One of each input, all new",
            f"The last column, {self.agreement_is}, compares with PyTorch eager's output.",
            _markdown(self.one, self.agreement_is),
        ]
        if self.many:
            parts += [
                f"## {len(SENTENCES)} sentences about one image",
                "The bundle from pixels and words to answers.",
                _markdown(self.many, self.agreement_is),
            ]
        return "\n\n".join(parts)


def measure(
    name: str,
    bundles: Sequence[str | Path] = (),
    precisions: Sequence[str] = ("fp32",),
    weights: str | None = None,
    threads: int | None = None,
    rounds: int = 15,
    compiled: bool = True,
    progress: Callable[[str], None] | None = None,
) -> Latency:
    """Measures a model; for a full-size one count a few minutes and several GB of memory and disk.

    Args:
        name: a preset of the registry.
        bundles: bundles made from the same weights, one a precision; by default exported for the occasion.
        precisions: of the bundles that are exported.
        weights: as `rsvl.load` takes them.
        threads: threads of each way; None takes all cores of this process.
        rounds: how often each way is timed; many sentences a third as often.
        compiled: whether torch.compile is among the ways (it needs a C++ compiler).
        progress: told what is going on.

    Raises:
        UsageError: no such model or weights.
        InputError: a bundle of another model.
        BundleError: a bundle that cannot be loaded.
    """
    say = progress or (lambda what: None)
    threads = threads or _cores()
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as scratch:
        say(f"building {name}")
        torch.manual_seed(0)  # random weights, where they are, are the same in every run
        model = load(name, weights)
        spec, whole, inputs = model.spec, Whole(model), inputs_of(model)
        if not bundles:
            say(f"exporting in {', '.join(precisions)}")
            bundles = [export(model, Path(scratch, f"{precision}.bundle"), precision).path for precision in precisions]
        opened = [open_bundle(path, model) for path in bundles]
        say("exporting plainly and running each way once")
        ways = {EAGER: pytorch(whole, spec, inputs)}
        if compiled:
            ways["torch.compile"] = pytorch(torch.compile(whole), spec, inputs)
        try:
            ways["plain ONNX export"] = plain_onnx(whole, inputs, threads, Path(scratch, "plain.onnx"))
        except UsageError as error:
            say(f"no plain ONNX export: {error}")
        for bundle in opened:
            ways[f"rsvl bundle, {bundle.manifest.precision}"] = bundle_graphs(bundle, inputs, threads)
        outputs = {way: run() for way, run in ways.items()}  # compiles and allocates
        say(f"timing {rounds} rounds")
        one = interleaved(ways, rounds)
        many: dict[str, list[float]] = {}
        if spec.task in ASK:
            say(f"timing {len(SENTENCES)} sentences")
            runner = load_bundle(opened[0].source, provider="cpu", threads=threads)
            many = interleaved(many_sentences(runner, ASK[spec.task], spec.image.size), max(3, rounds // 3))
    return Latency(
        model=name,
        weights=str(model.source["weights"]),
        hardware=_processor(),
        threads=threads,
        rounds=rounds,
        agreement_is=compare(spec, outputs[EAGER], outputs[EAGER], "fp32")[0].name,
        one=timings(one, agreements(spec, outputs)),
        many=timings(many, {}) if many else (),
        versions={package: metadata.version(package) for package in ("rsvl", "torch", "onnxruntime")},
    )


def interleaved(ways: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each way in each round; a round runs every way once and begins with another one each time."""
    times: dict[str, list[float]] = {way: [] for way in ways}
    order = list(ways)
    for _ in range(rounds):
        for way in order:
            time.sleep(0.02)  # idle threads of the way before spin for some milliseconds
            start = time.perf_counter()
            ways[way]()
            times[way].append(1e3 * (time.perf_counter() - start))
        order.append(order.pop(0))
    return times


def agreements(spec: ModelSpec, outputs: Mapping[str, Tensors]) -> dict[str, float]:
    """How far each way's final outputs agree with PyTorch eager's, by the first measure of the task's own rule."""
    return {way: compare(spec, outputs[EAGER], found, "fp32")[0].value for way, found in outputs.items()}


def timings(times: Mapping[str, list[float]], ious: Mapping[str, float]) -> tuple[Timing, ...]:
    """Percentiles of each way's milliseconds; ratios are to the first way, as is the mask's agreement where known."""
    first = float(np.median(next(iter(times.values()))))
    found = []
    for way, values in times.items():
        low, median, high = (float(v) for v in np.percentile(values, [10, 50, 90]))
        found.append(Timing(way, median, low, high, first / median, ious.get(way)))
    return tuple(found)


def _markdown(timings: Sequence[Timing], agreement_is: str) -> str:
    compared = timings[0].agreement is not None
    header = ["way", "median (ms)", "10–90 % (ms)", "times as fast", *([agreement_is] if compared else [])]
    rows = []
    for t in timings:
        times = [f"{t.median_ms:.1f}", f"{t.low_ms:.1f}–{t.high_ms:.1f}", f"{t.speedup:.2f}"]
        rows.append([t.way, *times, *([f"{t.agreement:.4f}"] if t.agreement is not None else [])])
    return markdown_table(header, rows)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    """The processor's name and how many of its cores this machine has."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        found = None
    name = found.group(1).strip() if found else platform.processor() or platform.machine()
    return f"{name}, {_cores()} cores"


def write(found: Latency, folder: Path) -> list[Path]:
    """Writes `HARDWARE-MODEL.json` and `.md` into a folder; returns their paths.

    Raises:
        OutputError: they cannot be written.
    """
    stem = re.sub(r"[^a-z0-9]+", "-", f"{found.hardware} {found.model}".lower())
    contents = {".json": json.dumps(found.to_dict(), indent=2) + "\n", ".md": found.to_markdown() + "\n"}
    paths = [folder / f"{stem}{suffix}" for suffix in contents]
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        with replacing(path) as temporary:
            temporary.write_text(contents[path.suffix], encoding="utf-8")
    return paths


def main(
    model: Annotated[str, typer.Option(help="A preset: see rsvl models.")] = "cd2fsan",
    bundle: Annotated[
        list[str] | None, typer.Option(help="A bundle of the same weights; may be repeated. Default: fresh ones.")
    ] = None,
    precision: Annotated[list[str] | None, typer.Option(help="Of the fresh bundles; may be repeated.")] = None,
    weights: Annotated[str | None, typer.Option(help="A checkpoint, or 'random'.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Default: all cores.")] = None,
    rounds: Annotated[int, typer.Option(min=3, help="How often each way is timed.")] = 15,
    compiled: Annotated[bool, typer.Option("--compile/--no-compile", help="Measure torch.compile too.")] = True,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the report.")] = RESULTS,
) -> None:
    """Measure a model's latency in PyTorch, as a plain ONNX export and as a bundle, side by side."""
    try:
        found = measure(
            model,
            bundle or (),
            precision or ("fp32",),
            weights,
            threads,
            rounds,
            compiled,
            progress=lambda what: typer.echo(what, err=True),
        )
        paths = write(found, output)
    except RsvlError as error:
        typer.echo(error, err=True)
        raise typer.Exit(error.exit_code) from error
    typer.echo(found.to_markdown())
    typer.echo(f"wrote {' and '.join(map(str, paths))}", err=True)


if __name__ == "__main__":
    typer.run(main)
