"""The ways of running a model that `rsvl.benchmarks.latency` sets side by side, as functions without arguments.

Every way takes a model's raw inputs and gives its final outputs, by the names of its declaration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from rsvl.benchmarks.plain_export import export_plainly
from rsvl.export.samples import default_samples
from rsvl.modules.exportable import ExportableModel
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.errors import InputError
from rsvl.runtime.manifest import ANSWERING, GROUNDING, MATCHING, SEGMENTATION, ModelSpec
from rsvl.runtime.runner import Runner
from rsvl.runtime.session import Session, to_numpy

EAGER = "PyTorch eager"
SENTENCES = (
    "the white ship left of the long pier",
    "the large storage tank",
    "a red car on the road",
    "the airplane in the upper right",
    "the tennis court below the baseball field",
    "the bridge over the river",
    "the smallest building",
    "a harbour with many ships",
)

Tensors = dict[str, np.ndarray]
Way = Callable[[], Tensors]
Ask = Callable[[Any, np.ndarray, list[str]], Any]
"""Asks a runner several sentences about one image."""

ASK: dict[str, Ask] = {
    SEGMENTATION: lambda runner, pixels, texts: runner.segment(pixels, texts),
    GROUNDING: lambda runner, pixels, texts: runner.ground(pixels, texts),
    ANSWERING: lambda runner, pixels, texts: runner.answer(texts, pixels, pixels),
    MATCHING: lambda runner, pixels, texts: runner.similarity([pixels], texts),
}


class Whole(nn.Module):
    """A model's graphs one after the other: its raw inputs to its final outputs, both in the declaration's order."""

    def __init__(self, model: ExportableModel) -> None:
        super().__init__()
        self.spec: ModelSpec = model.spec
        self.inner = nn.ModuleList(model.graph(graph.name) for graph in model.spec.graphs)

    def forward(self, *raw: Tensor) -> tuple[Tensor, ...]:
        """Raw inputs to final outputs."""
        tensors = dict(zip(self.spec.raw_inputs, raw, strict=True))
        for graph, module in zip(self.spec.graphs, self.inner, strict=True):
            found = module(*(tensors[tensor.name] for tensor in graph.inputs))
            tensors |= dict(zip((tensor.name for tensor in graph.outputs), found, strict=True))
        return tuple(tensors[name] for name in self.spec.final_outputs)


def inputs_of(model: ExportableModel) -> Tensors:
    """One of each raw input: the first of those that an export is verified with."""
    tokenizer = model.tokenizer_json() if model.spec.text else None
    return {name: array[:1] for name, array in default_samples(model.spec, tokenizer).items()}


def pytorch(model: Callable[..., tuple[Tensor, ...]], spec: ModelSpec, inputs: Tensors) -> Way:
    """A `Whole` model, compiled or not, in PyTorch."""
    raw = [torch.from_numpy(inputs[name]) for name in spec.raw_inputs]

    def way() -> Tensors:
        with torch.no_grad():
            return {name: tensor.numpy() for name, tensor in zip(spec.final_outputs, model(*raw), strict=True)}

    return way


def plain_onnx(model: Whole, inputs: Tensors, threads: int, path: Path) -> Way:
    """A plain export, see `rsvl.benchmarks.plain_export`, in ONNX Runtime.

    Raises:
        UsageError: the model has no plain form.
    """
    outputs = list(model.spec.final_outputs)
    export_plainly(model, {name: torch.from_numpy(inputs[name]) for name in model.spec.raw_inputs}, outputs, path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda: dict(zip(outputs, session.run(outputs, inputs), strict=True))


def bundle_graphs(bundle: Bundle, inputs: Tensors, threads: int) -> Way:
    """A bundle's graphs one after the other, as the runtime runs them; nothing is kept from one call to the next."""
    session = Session(bundle, provider="cpu", threads=threads)
    spec = bundle.manifest.model
    graphs = [graph.name for graph in spec.graphs]

    def way() -> Tensors:
        outputs = session.run(inputs, graphs)
        return {name: to_numpy(outputs[name]) for name in spec.final_outputs}

    return way


def many_sentences(runner: Runner, ask: Ask, size: int) -> dict[str, Callable[[], Any]]:
    """`SENTENCES` about one new image of size×size pixels, by runs that share nothing and by one call."""
    fresh = _fresh(size)

    def separate_runs() -> Any:
        return [
            ask(runner, pixels, [f"{text} {number}"]) for text, (pixels, number) in zip(SENTENCES, fresh, strict=False)
        ]

    def one_call() -> Any:
        pixels, number = next(fresh)
        return ask(runner, pixels, [f"{text} {number}" for text in SENTENCES])

    return {f"{len(SENTENCES)} separate runs": separate_runs, f"one call with {len(SENTENCES)} sentences": one_call}


def open_bundle(path: str | Path, model: ExportableModel) -> Bundle:
    """Opens a bundle of this model.

    Raises:
        InputError: it is of another model.
    """
    bundle = Bundle(path)
    if bundle.manifest.model.name != model.spec.name:
        raise InputError(f"{path} is a bundle of {bundle.manifest.model.name}: give one of {model.spec.name}")
    return bundle


def _fresh(size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Images that differ in one pixel and numbers to tell sentences apart: the runtime knows none of them yet.

    They are noise, since no way's time depends on what an image shows.
    """
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    for number in count():
        pixels = noise.copy()
        pixels[0, 0] = number % 256, number // 256 % 256, number // 65536
        yield pixels, number
