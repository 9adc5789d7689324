"""Running a bundle's graphs in ONNX Runtime against a reference, before the bundle is put in its place.

The reference of an export is the model in PyTorch float32 (`rsvl.export.pytorch_reference`); that of another precision
of a bundle is the bundle. Every output of every graph is compared by its largest absolute difference, to be read by
people; what decides is how far the final outputs agree by the task's own rules (`rsvl.runtime.tasks.agreement`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from rsvl.export.variants import backends_of, in_form
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
class Reference:
    """What the graphs of a bundle are compared with.

    Attributes:
        name: what gave the outputs: PyTorch, or a bundle.
        tensors: raw inputs and every output of every graph, [N, …] each, by name.
        sha256: SHA-256 (hex) of the manifest of a bundle; empty for PyTorch.
        golden: how many of the first samples are a golden test's: they must agree by themselves too.
    """

    name: str
    tensors: Tensors
    sha256: str = ""
    golden: int = 0


@dataclass(frozen=True)
class Verification:
    """What the comparison found.

    Attributes:
        reference: the name of what the graphs were compared with.
        reference_sha256: its hash; see `Reference`.
        inputs: number of samples.
        batches: the batch sizes in which they were run.
        largest_difference: of each output, absolute, by name.
        largest_value: the largest magnitude of each output of the reference, to read the difference against.
        measures: how far the final outputs agree, by the task's own rules.
        coverage: how much the comparison saw, such as the share of foreground; see `rsvl.runtime.tasks.coverage`.
        lack: why it says little, in one phrase; empty where it does not.
        variants: how far the final outputs agree in the form of each backend that has variants, by backend; all else
            that is recorded is that of the standard form.
    """

    reference: str
    reference_sha256: str
    inputs: int
    batches: tuple[int, ...]
    largest_difference: dict[str, float]
    largest_value: dict[str, float]
    measures: tuple[Measure, ...]
    coverage: dict[str, float] = field(default_factory=dict)
    lack: str = ""
    variants: dict[str, tuple[Measure, ...]] = field(default_factory=dict)


def run_bundle(bundle: Bundle, samples: Mapping[str, np.ndarray]) -> Tensors:
    """Every output of every graph in ONNX Runtime on the CPU, as arrays [N, …] by name, beside the samples.

    The graphs are loaded and wired as the runtime does it.
    """
    session = Session(bundle, provider="cpu")
    tensors: Tensors = dict(samples)
    for graph in bundle.manifest.model.graphs:
        names = [tensor.name for tensor in graph.inputs]

        def run(inputs: Sequence[np.ndarray], graph: GraphSpec = graph, names: list[str] = names) -> list[np.ndarray]:
            outputs = session.run(dict(zip(names, inputs, strict=True)), [graph.name])
            return [to_numpy(outputs[tensor.name]) for tensor in graph.outputs]

        tensors.update(run_in_batches(graph, tensors, run))
    return tensors


def compare(spec: ModelSpec, reference: Reference, actual: Tensors, precision: str) -> Verification:
    """Compares what the graphs gave with the reference.

    Raises:
        VerificationError: an output of another shape, values that are not finite, or outputs that agree less than
            `rsvl.runtime.tasks.agreement` allows for the precision.
    """
    expected, outputs = reference.tensors, [tensor.name for graph in spec.graphs for tensor in graph.outputs]
    for name in outputs:
        _check_output(name, reference, actual[name])
    count, seen = len(expected[outputs[0]]), tasks.coverage(spec, expected)
    found = Verification(
        reference=reference.name,
        reference_sha256=reference.sha256,
        inputs=count,
        batches=tuple(stop - start for start, stop in _batches(count)),
        largest_difference={name: float(np.abs(expected[name] - actual[name]).max()) for name in outputs},
        largest_value={name: float(np.abs(expected[name]).max()) for name in outputs},
        measures=tasks.compare(spec, expected, actual, precision),
        coverage=seen.values,
        lack=seen.lack,
    )
    measures = found.measures
    if reference.golden:  # where masks are cut depends on the samples that are compared together
        first, other = ({name: each[name][: reference.golden] for name in expected} for each in (expected, actual))
        measures += tasks.compare(spec, first, other, precision)
    failed = [str(measure) for measure in measures if not measure.passed]
    if failed:
        raise VerificationError(
            f"the exported graphs disagree with {reference.name} in {precision}: {', '.join(failed)}, nothing was "
            "written: name the parts that lose accuracy in the model's keep_fp32, or stay with fp32"
        )
    return found


def verify(directory: Path, reference: Reference, precision: str) -> Verification:
    """Runs the bundle in a folder on the samples of a reference in every form that it has, and compares.

    Raises:
        VerificationError: as `compare` raises it; the reason names the form.
    """
    bundle = Bundle(directory, check=False)
    manifest = bundle.manifest
    samples = {name: reference.tensors[name] for name in manifest.model.raw_inputs}
    found = {}
    for backend in ("", *backends_of(manifest)):
        bundle.manifest = in_form(manifest, backend)
        try:
            found[backend] = compare(manifest.model, reference, run_bundle(bundle, samples), precision)
        except VerificationError as error:
            form = f"in the form for {backend}, " if backend else ""
            raise VerificationError(f"{form}{error}") from error
    variants = {backend: each.measures for backend, each in found.items() if backend}
    return replace(found[""], variants=variants)


def verifies(directory: Path, reference: Reference, precision: str) -> bool:
    """Whether `verify` lets the bundle in a folder pass."""
    try:
        verify(directory, reference, precision)
    except VerificationError:
        return False
    return True


def run_in_batches(graph: GraphSpec, tensors: Tensors, run: Runner) -> Tensors:
    """One graph's outputs by name, run in the batches of `BATCHES` on what `tensors` has of its inputs."""
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


def _check_output(name: str, reference: Reference, actual: np.ndarray) -> None:
    expected = reference.tensors[name]
    if expected.shape != actual.shape or expected.dtype != actual.dtype:
        raise VerificationError(
            f"output {name} of the exported graph is {actual.dtype} {list(actual.shape)}, {reference.name} gives "
            f"{expected.dtype} {list(expected.shape)}: the model's declaration or its export is wrong"
        )
    for values, where in ((expected, f"{reference.name} in float32"), (actual, "the exported graph")):
        if not np.isfinite(values).all():
            raise VerificationError(
                f"output {name} of {where} has values that are not finite: check the weights, or keep the part that "
                "overflows in float32 (keep_fp32)"
            )
