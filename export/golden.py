"""The golden test that travels in a bundle: small inputs and what is expected of them.

`golden.npz` holds raw inputs and the outputs that PyTorch gives for them in float32. `inputs.npz` holds what comes
before, pictures and sentences with the raw inputs that they become, and the threshold that comes after.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rsvl.export.samples import pictures, sentences
from rsvl.runtime.bundle import GOLDEN, GOLDEN_INPUTS
from rsvl.runtime.images.preprocess import preprocess
from rsvl.runtime.manifest import ModelSpec
from rsvl.runtime.tasks import most_informative
from rsvl.runtime.tasks.tokenizer import Tokenizer

_COUNT = 2  # a batch of one would not find a dimension that is dynamic in name only


def write_golden(directory: Path, spec: ModelSpec, tensors: Mapping[str, np.ndarray]) -> None:
    """Writes `golden/golden.npz`: raw inputs and final outputs of the two most informative samples.

    Args:
        directory: the bundle.
        spec: the model's declaration.
        tensors: raw inputs and the outputs of PyTorch in float32 by name, [N, …].
    """
    chosen = most_informative(spec, tensors, _COUNT)
    arrays = {name: tensors[name][chosen] for name in (*spec.raw_inputs, *spec.final_outputs)}
    path = directory / GOLDEN
    path.parent.mkdir()
    np.savez_compressed(path, allow_pickle=False, **arrays)


def write_golden_inputs(directory: Path, spec: ModelSpec, tokenizer_json: str | None) -> None:
    """Writes `golden/inputs.npz`; nothing for a model that takes neither image nor text.

    Args:
        directory: the bundle, with a golden test.
        spec: the model's declaration.
        tokenizer_json: its tokenizer; None for a model that takes no text.
    """
    arrays: dict[str, np.ndarray] = {}
    for image in spec.images:
        picture = pictures(spec, image)[0]
        arrays |= {f"picture.{image.name}": picture, f"raw.{image.name}": preprocess(picture, image)}
    if spec.text is not None and tokenizer_json is not None:
        texts = sentences(spec)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a sentence may be cut: it is on both sides
            tokens = Tokenizer.from_file(tokenizer_json, spec.text)(texts)
        arrays |= {"sentences": np.array(texts), "tokens": tokens}
    if arrays:
        np.savez_compressed(
            directory / GOLDEN_INPUTS, allow_pickle=False, threshold=np.float64(spec.threshold), **arrays
        )
