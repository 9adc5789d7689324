"""The custom operations in ONNX Runtime on this CPU, beside the plain layers that they replace.

python -m rsvl.benchmarks.laboratory.operations --threads 2 --rounds 30

Batch 1, float32, random weights and inputs; all forms of a case are exported and timed in alternating rounds
(`rsvl.benchmarks.timing`). A ratio is the median of the rounds' ratios. Plain layers are exported with fixed sizes, the
best case for a plain layer; ours as they are in a bundle, with a dynamic batch.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from rsvl.benchmarks.bundle.plain_export import export_plainly
from rsvl.benchmarks.bundle.runners import onnx_session
from rsvl.benchmarks.count import count_call
from rsvl.benchmarks.laboratory.operation_cases import CASES, Case, Inputs
from rsvl.benchmarks.machine import describe, hardware
from rsvl.benchmarks.markdown import markdown_table
from rsvl.benchmarks.records import RESULTS, file_stem, keep
from rsvl.benchmarks.timing import Percentiles, interleaved
from rsvl.export.graphs import write_graph
from rsvl.runtime.hardware import cores
from rsvl.runtime.manifest import GraphSpec, TensorSpec

Run = Callable[[], np.ndarray]
_WARM_UP = 3


@dataclass(frozen=True)
class FormSpeed:
    """The latency of one form of a case.

    Attributes:
        name: the form.
        ms: its latency.
        of_plain: its time relative to the plain layer's.
        macs: of its definition, however it is computed.
        error: the largest difference from PyTorch's output in float64, relative to that output's largest value.
    """

    name: str
    ms: Percentiles
    of_plain: float
    macs: int
    error: float


@dataclass(frozen=True)
class Measured:
    """A case's forms: the plain layer, the operation, and the form that a plain export writes, if there is one."""

    name: str
    goal: float
    forms: tuple[FormSpeed, ...]


@dataclass(frozen=True)
class Record:
    """The results of one run."""

    hardware: str
    threads: int
    rounds: int
    cases: tuple[Measured, ...]
    machine: dict[str, str]


def measure(case: Case, threads: int, rounds: int) -> Measured:
    """Exports and times a case's forms.

    Args:
        case: what to measure.
        threads: CPU threads per form.
        rounds: timing rounds, after some to warm up.
    """
    x = {"x": case.inputs["x"]} if case.plain_graph is None else case.inputs
    with tempfile.TemporaryDirectory() as scratch:
        runs = {"plain layer": _plain_layer(case, x, threads, Path(scratch, "plain.onnx"))}
        runs["rsvl"] = _as_in_a_bundle(case.layer, case.inputs, threads, Path(scratch, "own.onnx"))
        if case.literal:
            runs["plain export"] = _plainly(case.layer, case.inputs, threads, Path(scratch, "literal.onnx"))
    layers = [(case.plain, x)] + [(case.layer, case.inputs)] * (len(runs) - 1)
    errors = [_error(run(), layer, inputs) for run, (layer, inputs) in zip(runs.values(), layers, strict=True)]
    interleaved(runs, _WARM_UP)
    times = interleaved(runs, rounds)
    plain = np.array(times["plain layer"])
    forms = (
        FormSpeed(name, Percentiles.of(times[name]), float(np.median(times[name] / plain)), _macs(*layer), error)
        for name, layer, error in zip(runs, layers, errors, strict=True)
    )
    return Measured(case.name, case.goal, tuple(forms))


def _plain_layer(case: Case, inputs: Inputs, threads: int, path: Path) -> Run:
    if case.plain_graph is None:
        return _plainly(case.plain, inputs, threads, path)
    onnx.save(case.plain_graph, path)
    return _run(path, inputs, threads)


def _plainly(layer: nn.Module, inputs: Inputs, threads: int, path: Path) -> Run:
    export_plainly(_Listed(layer), inputs, ["y"], path)
    return _run(path, inputs, threads)


def _as_in_a_bundle(layer: nn.Module, inputs: Inputs, threads: int, path: Path) -> Run:
    tensors = {name: TensorSpec(name, ("batch", *tensor.shape[1:]), "float32") for name, tensor in inputs.items()}
    output = TensorSpec("y", ("batch", *_in_pytorch(layer, inputs).shape[1:]), "float32")
    write_graph(_Listed(layer), GraphSpec("operation", tuple(tensors.values()), (output,)), path)
    return _run(path, inputs, threads)


class _Listed(nn.Module):
    """A layer that returns its output in a tuple, as the exports expect it."""

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
    exact = {name: tensor.double() for name, tensor in inputs.items()}
    expected = _in_pytorch(deepcopy(layer).double(), exact).numpy()
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def _macs(layer: nn.Module, inputs: Inputs) -> int:
    counted = count_call(layer.to("meta"), partial(layer, *(tensor.to("meta") for tensor in inputs.values())))
    return sum(products.total for products in counted.values())


def markdown(record: Record) -> str:
    """The record as a page."""
    threads = "1 thread" if record.threads == 1 else f"{record.threads} threads"
    columns = ["p50 (ms)", "p90 (ms)", "relative to the plain layer", "MACs (M)", "error"]
    parts = [
        f"# Custom operations in ONNX Runtime on {record.hardware}, {threads}",
        f"Batch 1, float32, {record.rounds} alternating rounds; ratios are medians of the rounds' ratios. The plain "
        "layer is a static 3×3 convolution, a linear layer, a block with one expert, or one ONNX Scan that follows the "
        "definition; a plain export writes the operation as the paper does, by grid sampling. MACs are those of the "
        "definition, matrix products only. The error is the largest difference from PyTorch in float64, relative to "
        "the largest value.",
    ]
    for case in record.cases:
        parts += [f"## {case.name}: goal {case.goal} times the plain layer"]
        parts += [markdown_table(["form", *columns], map(_row, case.forms))]
    parts += ["## The machine", markdown_table(["what", "value"], map(list, record.machine.items()), words=2)]
    return "\n\n".join(parts) + "\n"


def _row(form: FormSpeed) -> list[str]:
    times = [f"{value:.2f}" for value in (form.ms.p50, form.ms.p90, form.of_plain)]
    return [form.name, *times, f"{form.macs / 1e6:.0f}", f"{form.error:.1e}"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures all cases, prints the record and saves it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=_count, default=cores(), help="CPU threads; by default all cores")
    parser.add_argument("--rounds", type=_count, default=30, help="timing rounds")
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
