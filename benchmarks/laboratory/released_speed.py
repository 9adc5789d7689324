"""Released models at full size: the bundle beside PyTorch and a plain export, a further sentence, memory.

python -m rsvl.benchmarks.laboratory.released_speed --threads 2 --rounds 5

Random weights, on which no time depends, float32, batch 1. Per model: a new image with a new sentence in eager PyTorch,
in a plain ONNX export and as a bundle, in alternating rounds (`rsvl.benchmarks.timing`); a sentence about a new image
and a further one about the same; the peak memory of a fresh process that runs the bundle. A ratio is the median of the
rounds' ratios. A model takes some minutes; with ``--files`` what was exported is kept, and ``--only`` measures single
models and leaves the other rows of the record as they are.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import nn

from rsvl import registry
from rsvl.benchmarks.bundle.footprint import footprint
from rsvl.benchmarks.bundle.markdown import NONE
from rsvl.benchmarks.bundle.questions import first_and_further
from rsvl.benchmarks.bundle.runners import PLAIN, onnx_session, plain_onnx
from rsvl.benchmarks.bundle.whole_model import EAGER, Run, Tensors, Whole, pytorch
from rsvl.benchmarks.machine import cores, describe, hardware
from rsvl.benchmarks.markdown import markdown_table
from rsvl.benchmarks.records import RESULTS, file_stem, keep
from rsvl.benchmarks.timing import Percentiles, interleaved
from rsvl.cli.console import progress
from rsvl.export import export
from rsvl.export.samples import default_samples
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.check import read_golden
from rsvl.runtime.errors import UsageError
from rsvl.runtime.loading import load

MODELS = ("lavt", "lgce", "rmsin", "fianet", "cadformer", "cris", "cris-r101", "optisar-net++")
BUNDLE = "bundle"
_HEADER = ["model", f"{BUNDLE}, ms", f"{EAGER}, times", f"{PLAIN}, times", "further sentence", "weights, MB", "memory"]


@dataclass(frozen=True)
class Speed:
    """One model.

    Attributes:
        ms: latency for a new image and a new sentence, from raw inputs to final outputs, by runner.
        of_bundle: the other runners' time relative to the bundle's.
        first, further: a sentence about a new image, and a further one about the same, preprocessing included.
        further_of_first: their ratio.
        weights_mb: of the bundle's graphs.
        memory_of_weights: what loading and running add to a process at its peak, as a multiple of the weights.
        threads, rounds: how it was measured.
    """

    ms: dict[str, Percentiles]
    of_bundle: dict[str, float]
    first: Percentiles
    further: Percentiles
    further_of_first: float
    weights_mb: float
    memory_of_weights: float | None
    threads: int
    rounds: int


def main(
    only: Annotated[list[str] | None, typer.Option("--only", metavar="MODEL", help="Repeatable.")] = None,
    threads: Annotated[int, typer.Option("--threads", help="CPU threads per runner.")] = cores(),
    rounds: Annotated[int, typer.Option("--rounds", help="Timing rounds.")] = 5,
    files: Annotated[Path | None, typer.Option("--files", metavar="FOLDER", help="Keep what is exported here.")] = None,
    results: Annotated[Path, typer.Option("--results", metavar="FOLDER", help="Where the record is.")] = RESULTS,
) -> None:
    """Measure released models at full size."""
    torch.set_num_threads(threads)
    with progress("measuring") as report, nullcontext(files) if files else tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate(only or MODELS):
            report(number, len(only or MODELS), name)
            found = measure(name, Path(folder), threads, rounds)
            print(record(name, found, results))


def measure(name: str, folder: Path, threads: int, rounds: int) -> Speed:
    """Exports a model to a folder, unless it is there already, and measures it.

    Args:
        name: a preset.
        folder: for ``NAME.bundle`` and ``NAME.onnx``.
        threads: CPU threads per runner.
        rounds: timing rounds.
    """
    torch.manual_seed(0)  # the same weights in every run
    model: Any = _settled(registry.create(name))
    bundle = folder / f"{name}.bundle"
    if not bundle.exists():
        export(model, bundle)
    inputs = {key: array[:1] for key, array in read_golden(Bundle(bundle))[0].items()}
    room = footprint(bundle, "cpu", threads)
    runner = load(bundle, "cpu", threads)
    whole = Whole(model)
    runners: dict[str, Callable[[], Any]] = {
        BUNDLE: partial(runner.run, **inputs),
        EAGER: pytorch(whole, model.spec, inputs),
        **_plain(whole, inputs, threads, folder / f"{name}.onnx"),
    }
    for run in runners.values():
        run()  # allocates
    times = interleaved(runners, rounds)
    first, further = first_and_further(runner, rounds)
    return Speed(
        ms={each: Percentiles.of(values) for each, values in times.items()},
        of_bundle={each: _ratio(times[each], times[BUNDLE]) for each in runners if each != BUNDLE},
        first=Percentiles.of(first),
        further=Percentiles.of(further),
        further_of_first=_ratio(further, first),
        weights_mb=room.weights_mb,
        memory_of_weights=room.of_weights,
        threads=threads,
        rounds=rounds,
    )


def _settled(model: Any) -> Any:
    """A model with random weights in evaluation mode, its batch norms with what two images give them.

    With those of a fresh one, what an image shows is lost on the way through a deep network, and its scores are ties.
    """
    norms = [each for each in model.eval().modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.train().momentum = 1.0
    samples = default_samples(model.spec, model.tokenizer_json())
    with torch.no_grad():
        Whole(model)(*(torch.from_numpy(samples[each][:2]) for each in model.spec.raw_inputs))
    return model.eval()


def _plain(whole: Whole, inputs: Tensors, threads: int, path: Path) -> dict[str, Run]:
    """The plain export by its name; none of a model that has no plain form, as those with RMSIN's own kernels."""
    if not path.exists():
        try:
            return {PLAIN: plain_onnx(whole, inputs, threads, path)}
        except UsageError as error:
            warnings.warn(f"no plain export: {error}", stacklevel=1)
            return {}
    session = onnx_session(path, threads)
    outputs = list(whole.spec.final_outputs)
    return {PLAIN: lambda: dict(zip(outputs, session.run(outputs, inputs), strict=True))}


def _ratio(times: list[float], others: list[float]) -> float:
    """The median of the rounds' ratios."""
    return float(np.median(np.divide(times, others)))


def record(name: str, found: Speed, folder: Path) -> str:
    """Puts a model's row into the record of this hardware and gives the page.

    Raises:
        OutputError: it cannot be written.
    """
    stem = file_stem(hardware(), "released")
    path = folder / f"{stem}.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["models"] if path.is_file() else {}
    rows = {**rows, name: asdict(found)}
    rows = {each: rows[each] for each in sorted(rows, key=lambda each: (*MODELS, each).index(each))}
    page = markdown(rows)
    keep({"hardware": hardware(), "models": rows, "machine": describe()}, page, folder, stem)
    return page


def markdown(rows: dict[str, dict[str, Any]]) -> str:
    """The record as a page."""
    how = sorted({(row["threads"], row["rounds"]) for row in rows.values()})
    said = ", ".join(f"{threads} threads and {rounds} rounds" for threads, rounds in how)
    return "\n\n".join(
        [
            f"# Released models at full size, float32, on {hardware()}",
            f"One new image and one new sentence, batch 1, random weights; {said}. The others' times are relative to "
            "the bundle's, that of a further sentence about the same image to the first's, and memory to the weights.",
            markdown_table(_HEADER, [_row(name, row) for name, row in rows.items()]),
            "",
        ]
    )


def _row(name: str, row: dict[str, Any]) -> list[str]:
    memory = row["memory_of_weights"]
    return [
        name,
        f"{row['ms'][BUNDLE]['p50']:.0f}",
        f"{row['of_bundle'][EAGER]:.2f}",
        f"{row['of_bundle'][PLAIN]:.2f}" if PLAIN in row["of_bundle"] else NONE,
        f"{row['further_of_first']:.0%}",
        f"{row['weights_mb']:.0f}",
        NONE if memory is None else f"{memory:.2f}",
    ]


if __name__ == "__main__":
    typer.run(main)
