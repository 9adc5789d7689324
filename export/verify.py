"""Running the exported graphs in ONNX Runtime against the model in PyTorch float32, before a bundle exists.

Every output of every graph is compared by its largest absolute difference, to be read by people; what decides is how
far the final outputs agree by the task's own rules (`rsvl.runtime.tasks.agreement`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from rsvl.modules.bases.exportable import ExportableModel
from rsvl.runtime import tasks
from rsvl.runtime.backends.session import Session, to_numpy
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.errors import VerificationError
from rsvl.runtime.manifest import GraphSpec, ModelSpec
from rsvl.runtime.tasks.agreement import Measure

BATCHES = (1, 3, 4)
"""Batch sizes that the samples are run in, in turn, so that a dimension that is dynamic in name only is found."""

Tensors = dict[str, np.ndarray]
Runner = Callable[[Sequence[np.ndarray]], Sequence[np.ndarray]]


@dataclass(frozen=True)
class Verification:
    """What the comparison found.

    Attributes:
        inputs: number of samples.
        batches: the batch sizes in which they were run.
        largest_difference: of each output, absolute, by name.
        largest_value: the largest magnitude of each output in PyTorch, to read the difference against.
        measures: how far the final outputs agree, by the task's own rules.
    """

    inputs: int
    batches: tuple[int, ...]
    largest_difference: dict[str, float]
    largest_value: dict[str, float]
    measures: tuple[Measure, ...]


def run_pytorch(model: ExportableModel, spec: ModelSpec, samples: Mapping[str, np.ndarray]) -> Tensors:
    """Every output of every graph of the model in PyTorch, float32, as arrays [N, …] by name."""
    tensors: Tensors = dict(samples)
    with torch.no_grad():
        for graph in spec.graphs:
            module = model.graph(graph.name)

            def run(inputs: Sequence[np.ndarray], module: torch.nn.Module = module) -> list[np.ndarray]:
                return [output.numpy() for output in module(*(torch.from_numpy(x) for x in inputs))]

            tensors.update(_run_in_batches(graph, tensors, run))
    return tensors


def run_bundle(directory: Path, samples: Mapping[str, np.ndarray]) -> Tensors:
    """The same of a bundle's graphs in ONNX Runtime on the CPU, loaded and wired as the runtime does it."""
    bundle = Bundle(directory, check=False)
    session = Session(bundle, provider="cpu")
    tensors: Tensors = dict(samples)
    for graph in bundle.manifest.model.graphs:
        names = [tensor.name for tensor in graph.inputs]

        def run(inputs: Sequence[np.ndarray], graph: GraphSpec = graph, names: list[str] = names) -> list[np.ndarray]:
            outputs = session.run(dict(zip(names, inputs, strict=True)), [graph.name])
            return [to_numpy(outputs[tensor.name]) for tensor in graph.outputs]

        tensors.update(_run_in_batches(graph, tensors, run))
    return tensors


def compare(spec: ModelSpec, expected: Tensors, actual: Tensors, precision: str) -> Verification:
    """Compares what both gave.

    Raises:
        VerificationError: an output of another shape, values that are not finite, or outputs that agree less than
            `rsvl.runtime.tasks.agreement` allows for the precision.
    """
    outputs = [tensor.name for graph in spec.graphs for tensor in graph.outputs]
    for name in outputs:
        _check_output(name, expected[name], actual[name])
    count = len(expected[outputs[0]])
    found = Verification(
        inputs=count,
        batches=tuple(stop - start for start, stop in _batches(count)),
        largest_difference={name: float(np.abs(expected[name] - actual[name]).max()) for name in outputs},
        largest_value={name: float(np.abs(expected[name]).max()) for name in outputs},
        measures=tasks.compare(spec, expected, actual, precision),
    )
    failed = [str(measure) for measure in found.measures if not measure.passed]
    if failed:
        raise VerificationError(
            f"the exported graphs disagree with PyTorch in {precision}: {', '.join(failed)}, nothing was written: name "
            "the parts that lose accuracy in the model's keep_fp32, or export in fp32"
        )
    return found


def verifies(spec: ModelSpec, expected: Tensors, samples: Tensors, precision: str, directory: Path) -> bool:
    """Whether the bundle in a folder gives on the samples what `compare` lets pass."""
    try:
        compare(spec, expected, run_bundle(directory, samples), precision)
    except VerificationError:
        return False
    return True


def _run_in_batches(graph: GraphSpec, tensors: Tensors, run: Runner) -> Tensors:
    inputs = [tensors[tensor.name] for tensor in graph.inputs]
    parts = [run([x[start:stop] for x in inputs]) for start, stop in _batches(len(inputs[0]))]
    names = [tensor.name for tensor in graph.outputs]
    return {name: np.concatenate(outputs) for name, outputs in zip(names, zip(*parts, strict=True), strict=True)}


def _batches(count: int) -> Iterator[tuple[int, int]]:
    """Start and stop of each batch: the sizes of `BATCHES` in turn until all samples are used."""
    start, turn = 0, 0
    while start < count:
        stop = min(count, start + BATCHES[turn % len(BATCHES)])
        yield start, stop
        start, turn = stop, turn + 1


def _check_output(name: str, expected: np.ndarray, actual: np.ndarray) -> None:
    if expected.shape != actual.shape or expected.dtype != actual.dtype:
        raise VerificationError(
            f"output {name} of the exported graph is {actual.dtype} {list(actual.shape)}, PyTorch gives "
            f"{expected.dtype} {list(expected.shape)}: the model's declaration or its export is wrong"
        )
    for values, where in ((expected, "PyTorch in float32"), (actual, "the exported graph")):
        if not np.isfinite(values).all():
            raise VerificationError(
                f"output {name} of {where} has values that are not finite: check the weights, or keep the part that "
                "overflows in float32 (keep_fp32)"
            )
