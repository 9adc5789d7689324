"""The custom operations in ONNX Runtime on this processor, beside the plain layers whose places they take.

python -m rsvl.benchmarks.laboratory.operations --threads 2 --rounds 30

Batch 1, float32, random weights and inputs; every way of a case is exported and then timed in turns in the same run,
see `rsvl.benchmarks.timing`. A ratio is the median of the rounds' ratios. Plain layers are exported with fixed sizes,
which is the best that a plain layer can have; ours as they are in a bundle, with a dynamic batch.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from rsvl.benchmarks.bundle.plain_export import export_plainly
from rsvl.benchmarks.bundle.runners import onnx_session
from rsvl.benchmarks.count import count_call
from rsvl.benchmarks.laboratory.operation_cases import CASES, Case, Inputs
from rsvl.benchmarks.machine import cores, describe, hardware
from rsvl.benchmarks.markdown import markdown_table
from rsvl.benchmarks.records import RESULTS, file_stem, keep
from rsvl.benchmarks.timing import Percentiles, interleaved
from rsvl.export.graphs import write_graph
from rsvl.runtime.manifest import GraphSpec, TensorSpec

Run = Callable[[], np.ndarray]
_WARM_UP = 3


@dataclass(frozen=True)
class Way:
    """One way of running a case.

    Attributes:
        name: which.
        ms: its rounds, milliseconds.
        of_plain: its time as a multiple of the plain layer's.
        multiply_adds: of its definition, however it is computed.
        error: the largest difference from PyTorch's output, as a part of that output's largest value.
    """

    name: str
    ms: Percentiles
    of_plain: float
    multiply_adds: int
    error: float


@dataclass(frozen=True)
class Measured:
    """A case's ways: the plain layer, the operation, and where it has one the form that a plain export writes."""

    name: str
    goal: float
    ways: tuple[Way, ...]


@dataclass(frozen=True)
class Record:
    """What one run measured."""

    hardware: str
    threads: int
    rounds: int
    cases: tuple[Measured, ...]
    machine: dict[str, str]


def measure(case: Case, threads: int, rounds: int) -> Measured:
    """Exports and times a case's ways.

    Args:
        case: what to measure.
        threads: CPU threads of each way.
        rounds: how often each is timed, after some to warm up.
    """
    x = {"x": case.inputs["x"]}
    with tempfile.TemporaryDirectory() as scratch:
        runs = {"plain layer": _plainly(case.plain, x, threads, Path(scratch, "plain.onnx"))}
        runs["rsvl"] = _as_in_a_bundle(case.layer, case.inputs, threads, Path(scratch, "own.onnx"))
        if case.literal:
            runs["plain export"] = _plainly(case.layer, case.inputs, threads, Path(scratch, "literal.onnx"))
    layers = [(case.plain, x)] + [(case.layer, case.inputs)] * (len(runs) - 1)
    errors = [_error(run(), layer, inputs) for run, (layer, inputs) in zip(runs.values(), layers, strict=True)]
    interleaved(runs, _WARM_UP)
    times = interleaved(runs, rounds)
    plain = np.array(times["plain layer"])
    ways = (
        Way(name, Percentiles.of(times[name]), float(np.median(times[name] / plain)), _multiply_adds(*layer), error)
        for name, layer, error in zip(runs, layers, errors, strict=True)
    )
    return Measured(case.name, case.goal, tuple(ways))


def _plainly(layer: nn.Module, inputs: Inputs, threads: int, path: Path) -> Run:
    export_plainly(_Listed(layer), inputs, ["y"], path)
    return _run(path, inputs, threads)


def _as_in_a_bundle(layer: nn.Module, inputs: Inputs, threads: int, path: Path) -> Run:
    tensors = {name: TensorSpec(name, ("batch", *tensor.shape[1:]), "float32") for name, tensor in inputs.items()}
    output = TensorSpec("y", ("batch", *_in_pytorch(layer, inputs).shape[1:]), "float32")
    write_graph(_Listed(layer), GraphSpec("operation", tuple(tensors.values()), (output,)), path)
    return _run(path, inputs, threads)


class _Listed(nn.Module):
    """A layer in a module of its own that gives its output in a tuple, as the exports take it."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, *inputs: Tensor) -> tuple[Tensor]:
        return (self.layer(*inputs),)


def _run(path: Path, inputs: Inputs, threads: int) -> Run:
    session = onnx_session(path, threads)
    feeds = {name: tensor.numpy() for name, tensor in inputs.items()}
    return lambda: session.run(None, feeds)[0]


def _in_pytorch(layer: nn.Module, inputs: Inputs) -> Tensor:
    with torch.no_grad():
        return layer(*inputs.values())


def _error(found: np.ndarray, layer: nn.Module, inputs: Inputs) -> float:
    expected = _in_pytorch(layer, inputs).numpy()
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def _multiply_adds(layer: nn.Module, inputs: Inputs) -> int:
    counted = count_call(layer.to("meta"), partial(layer, *(tensor.to("meta") for tensor in inputs.values())))
    return sum(products.total for products in counted.values())


def markdown(record: Record) -> str:
    """The record as a page."""
    threads = "1 thread" if record.threads == 1 else f"{record.threads} threads"
    columns = ["p50 (ms)", "p90 (ms)", "times the plain layer", "multiply-adds (millions)", "error"]
    parts = [
        f"# Custom operations in ONNX Runtime on {record.hardware}, {threads}",
        f"Batch 1, float32, {record.rounds} rounds of all ways in turns; ratios are medians of the rounds' ratios. The "
        "plain layer is a static 3×3 convolution or a linear layer; a plain export writes the operation as the paper "
        "does, by grid sampling. Multiply-adds are those of the definition. The error is the largest difference from "
        "PyTorch, as a part of the largest value.",
    ]
    for case in record.cases:
        parts += [f"## {case.name}: at most {case.goal} times the plain layer is the goal"]
        parts += [markdown_table(["way", *columns], map(_row, case.ways))]
    parts += ["## The machine", markdown_table(["what", "value"], map(list, record.machine.items()), words=2)]
    return "\n\n".join(parts) + "\n"


def _row(way: Way) -> list[str]:
    times = [f"{value:.2f}" for value in (way.ms.p50, way.ms.p90, way.of_plain)]
    return [way.name, *times, f"{way.multiply_adds / 1e6:.0f}", f"{way.error:.1e}"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures all cases, prints the record and keeps it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=_count, default=cores(), help="CPU threads; by default all cores")
    parser.add_argument("--rounds", type=_count, default=30, help="how often each way is timed")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the record")
    given = parser.parse_args(arguments)
    torch.manual_seed(0)
    measured = tuple(measure(case(), given.threads, given.rounds) for case in CASES)
    record = Record(hardware(), given.threads, given.rounds, measured, describe())
    page = markdown(record)
    print(page)
    print(keep(asdict(record), page, given.results, file_stem(record.hardware, "operations")))


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 up")
    return int(text)


if __name__ == "__main__":
    main()
