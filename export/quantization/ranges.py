"""Statistics of a graph's activations while it runs, and the range of each, by ONNX Runtime's calibrators."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx
from onnxruntime.quantization.calibrate import HistogramCollector

from rsvl.runtime.backends.onnxruntime.providers import onnxruntime

Inputs = Mapping[str, np.ndarray]

BINS, LEVELS = 512, 128
"""Of the histograms. With a number of bins near its 128 levels the entropy calibrator does not clip at all."""
PERCENTILE = 99.999


class Probe:
    """Runs a graph and returns inner activations of it."""

    def __init__(self, model: onnx.ModelProto, tensors: Iterable[str]) -> None:
        self._names = list(dict.fromkeys(tensors))
        self._inputs = {value.name for value in model.graph.input}
        exposed = onnx.ModelProto()
        exposed.CopyFrom(model)
        there = self._inputs | {value.name for value in model.graph.output}
        exposed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in self._names if name not in there)
        # Weights above 2 GB would need a file: such a graph is beyond what protobuf, and what quantizes it, can hold.
        self._session = onnxruntime().InferenceSession(exposed.SerializeToString(), providers=["CPUExecutionProvider"])

    def run(self, inputs: Inputs) -> dict[str, np.ndarray]:
        """The tensors' values by name, for one run's inputs by name."""
        made = [name for name in self._names if name not in self._inputs]
        found = dict(zip(made, self._session.run(made, dict(inputs)), strict=True)) if made else {}
        return found | {name: inputs[name] for name in self._names if name in self._inputs}


class ActivationStats:
    """Sizes and magnitudes of a graph's activations, over all runs.

    Attributes:
        elements: elements per sample of each tensor.
        peaks: the largest magnitude of each tensor.
        channels: the largest magnitude of each channel, the last axis, [K], of the tensors asked for.
    """

    def __init__(
        self, model: onnx.ModelProto, tensors: Sequence[str], by_channel: Sequence[str], runs: Iterable[Inputs]
    ) -> None:
        """Runs a graph on each of `runs` and looks at `tensors`, and at `by_channel` by channel."""
        self.elements: dict[str, int] = {}
        self.peaks: dict[str, float] = {}
        self.channels: dict[str, np.ndarray] = {}
        probe = Probe(model, [*tensors, *by_channel])
        for inputs in runs:
            batch = len(next(iter(inputs.values())))
            arrays = probe.run(inputs)
            for name in tensors:
                self.elements[name] = arrays[name].size // batch
                self.peaks[name] = max(self.peaks.get(name, 0.0), float(np.abs(arrays[name]).max(initial=0.0)))
            for name in by_channel:
                largest = np.abs(arrays[name]).reshape(-1, arrays[name].shape[-1]).max(axis=0)
                self.channels[name] = np.maximum(self.channels.get(name, largest), largest)


def ranges(
    model: onnx.ModelProto, peaks: Mapping[str, float], runs: Iterable[Inputs], calibrator: str
) -> dict[str, float]:
    """The magnitude that maps to the largest 8-bit number, of each tensor.

    Args:
        model: the graph, float32.
        peaks: the largest magnitude of each tensor over all of `runs`.
        runs: the graph's inputs by name, run by run.
        calibrator: ``minmax`` takes the peaks, ``percentile`` leaves out one number in 100 000, ``entropy`` cuts where
            the distribution in int8 diverges least from the true one.
    """
    tensors = [name for name, peak in peaks.items() if peak > 0]
    if calibrator == "minmax" or not tensors:
        return dict(peaks)
    probe = Probe(model, tensors)
    collector = HistogramCollector(calibrator, True, BINS, LEVELS, PERCENTILE, "same")
    with contextlib.redirect_stdout(io.StringIO()):  # the library prints what it does
        # The peaks first: a histogram that must grow later gets ever more bins, and the work their square.
        collector.collect({name: [np.array([0, peaks[name]], np.float32)] for name in tensors})
        for inputs in runs:
            collector.collect({name: [array] for name, array in probe.run(inputs).items()})
        found = collector.compute_collection_result()
    return dict(peaks) | {name: float(max(abs(low), abs(high))) for name, (low, high, *_) in found.items()}
