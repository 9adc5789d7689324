"""The ways of running a model that `rsvl.benchmarks.latency` sets side by side, as functions without arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from rsvl.benchmarks.plain_export import export_plainly
from rsvl.modules.referring import ReferringSegmenter
from rsvl.runtime.agreement.masks import MASK
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.errors import InputError
from rsvl.runtime.features import TOKENS
from rsvl.runtime.image import preprocess
from rsvl.runtime.segmenter import Segmenter
from rsvl.runtime.session import Session, to_numpy
from rsvl.runtime.text import Tokenizer

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

Way = Callable[[], np.ndarray]


@dataclass(frozen=True)
class Inputs:
    """What every way is given.

    Attributes:
        pixels: an image of the model's size, uint8 [S, S, 3]; noise, since no way's time depends on what it shows.
        image: the same preprocessed, float32 [1, 3, S, S].
        tokens: the first of `SENTENCES`, int64 [1, T].
    """

    pixels: np.ndarray
    image: np.ndarray
    tokens: np.ndarray

    @classmethod
    def of(cls, model: ReferringSegmenter) -> Inputs:
        """Inputs for a model."""
        size = model.spec.image.size
        pixels = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
        tokenizer = Tokenizer.from_file(model.tokenizer_json(), model.spec.words)
        return cls(pixels, preprocess(pixels, model.spec.image)[None], tokenizer([SENTENCES[0]]))


def pytorch(model: Callable[..., Tensor], inputs: Inputs) -> Way:
    """A model, compiled or not, in PyTorch."""
    image, tokens = torch.from_numpy(inputs.image), torch.from_numpy(inputs.tokens)

    def way() -> np.ndarray:
        with torch.no_grad():
            return model(image, tokens).numpy()

    return way


def plain_onnx(model: nn.Module, inputs: Inputs, threads: int, path: Path) -> Way:
    """A plain export, see `rsvl.benchmarks.plain_export`, in ONNX Runtime."""
    export_plainly(model, torch.from_numpy(inputs.image), torch.from_numpy(inputs.tokens), path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feeds = {"image": inputs.image, TOKENS: inputs.tokens}
    return lambda: session.run([MASK], feeds)[0]


def bundle_graphs(bundle: Bundle, inputs: Inputs, threads: int) -> Way:
    """A bundle's graphs one after the other, as the runtime runs them; nothing is kept from one call to the next."""
    session = Session(bundle, provider="cpu", threads=threads)
    graphs = [graph.name for graph in bundle.manifest.model.graphs]
    feeds = {"image": inputs.image, TOKENS: inputs.tokens}
    return lambda: to_numpy(session.run(feeds, graphs)[MASK])


def many_sentences(segmenter: Segmenter, inputs: Inputs) -> dict[str, Callable[[], Any]]:
    """`SENTENCES` about one new image, by eight runs that share nothing and by one call."""
    fresh = _fresh(inputs)

    def separate_runs() -> Any:
        return [
            segmenter.segment(pixels, f"{text} {number}")
            for text, (pixels, number) in zip(SENTENCES, fresh, strict=False)
        ]

    def one_call() -> Any:
        pixels, number = next(fresh)
        return segmenter.segment(pixels, [f"{text} {number}" for text in SENTENCES])

    return {f"{len(SENTENCES)} separate runs": separate_runs, f"one call with {len(SENTENCES)} sentences": one_call}


def open_bundle(path: str | Path, model: ReferringSegmenter) -> Bundle:
    """Opens a bundle of this model.

    Raises:
        InputError: it is of another model.
    """
    bundle = Bundle(path)
    if bundle.manifest.model.name != model.spec.name:
        raise InputError(f"{path} is a bundle of {bundle.manifest.model.name}: give one of {model.spec.name}")
    return bundle


def _fresh(inputs: Inputs) -> Iterator[tuple[np.ndarray, int]]:
    """Images that differ in one pixel and numbers to tell sentences apart: the runtime knows none of them yet."""
    for number in count():
        pixels = inputs.pixels.copy()
        pixels[0, 0] = number % 256, number // 256 % 256, number // 65536
        yield pixels, number
