"""Running the exported graphs in ONNX Runtime against the model in PyTorch float32, before a bundle exists.

What is compared: every output of every graph (largest absolute difference), and the masks, each sample's on its own.
A mask is where the probability exceeds the declared threshold. Two rules keep the comparison meaningful:

- A small mask cannot agree to 1 % and still differ in a pixel, and a pixel on the border is within rounding: samples
  with fewer than `LEAST_PIXELS` in both masks together count in the IoU of all samples taken as one mask.
- Where all samples' masks at the threshold together have fewer than that inside or outside, as with random weights,
  they say nothing: the masks are then cut at the median of all reference logits, where half of the pixels are inside
  and most of them have a chance to fall on the wrong side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from rsvl.modules.referring import ReferringSegmenter
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.check import LIMITS
from rsvl.runtime.errors import VerificationError
from rsvl.runtime.features import MASK
from rsvl.runtime.manifest import GraphSpec, ModelSpec
from rsvl.runtime.session import Session, to_numpy

BATCHES = (1, 3, 4)
"""Batch sizes that the samples are run in, in turn, so that a dimension that is dynamic in name only is found."""

LEAST_PIXELS = 1000

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
        cut: the logit above which a pixel belongs to the mask.
        cut_is: ``threshold``, or ``median`` where masks at the threshold say nothing.
        iou_mean: intersection over union of the masks, mean over the samples; two empty masks agree (1).
        iou_min: the least over the samples large enough to tell and over all samples taken as one.
        iou_limit: what `iou_min` must reach.
    """

    inputs: int
    batches: tuple[int, ...]
    largest_difference: dict[str, float]
    largest_value: dict[str, float]
    cut: float
    cut_is: str
    iou_mean: float
    iou_min: float
    iou_limit: float


def run_pytorch(model: ReferringSegmenter, spec: ModelSpec, samples: Mapping[str, np.ndarray]) -> Tensors:
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
        VerificationError: an output of another shape, values that are not finite, or masks that agree less than
            `rsvl.runtime.check.LIMITS` allow for the precision.
    """
    outputs = [tensor.name for graph in spec.graphs for tensor in graph.outputs]
    for name in outputs:
        _check_output(name, expected[name], actual[name])
    cut, cut_is = mask_cut(expected[MASK], spec.threshold)
    ious, iou_min = mask_ious(expected[MASK], actual[MASK], cut)
    found = Verification(
        inputs=len(ious),
        batches=tuple(stop - start for start, stop in _batches(len(ious))),
        largest_difference={name: float(np.abs(expected[name] - actual[name]).max()) for name in outputs},
        largest_value={name: float(np.abs(expected[name]).max()) for name in outputs},
        cut=cut,
        cut_is=cut_is,
        iou_mean=float(ious.mean()),
        iou_min=iou_min,
        iou_limit=LIMITS[precision].iou,
    )
    if found.iou_min < found.iou_limit:
        raise VerificationError(
            f"the exported masks agree only to IoU {found.iou_min:.4f} with PyTorch (mean {found.iou_mean:.4f}, limit "
            f"{found.iou_limit} in {precision}), nothing was written: name the parts that lose accuracy in the "
            "model's keep_fp32, or export in fp32"
        )
    return found


def mask_cut(logits: np.ndarray, threshold: float) -> tuple[float, str]:
    """The logit at which masks are cut, and which it is: see the module's docstring.

    Args:
        logits: reference logits [N, 1, h, w].
        threshold: probability in (0, 1).
    """
    cut = math.log(threshold / (1 - threshold))
    inside = int((logits > cut).sum())
    if min(inside, logits.size - inside) >= LEAST_PIXELS:
        return cut, "threshold"
    return float(np.median(logits)), "median"


def mask_ious(expected: np.ndarray, actual: np.ndarray, cut: float) -> tuple[np.ndarray, float]:
    """Agreement of the masks ``logits > cut`` of two arrays of logits [N, 1, h, w].

    Returns:
        Each sample's intersection over union, float64 [N], 1 where both masks are empty; and the least that counts:
        over the samples with `LEAST_PIXELS` or more, and over all samples taken as one mask.
    """
    a, b = ((logits > cut).reshape(len(logits), -1) for logits in (expected, actual))
    both, either = (a & b).sum(axis=1), (a | b).sum(axis=1)
    ious = np.where(either == 0, 1.0, both / np.maximum(either, 1))
    together = both.sum() / either.sum() if either.any() else 1.0
    return ious, float(min([together, *ious[either >= LEAST_PIXELS]]))


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
