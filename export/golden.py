"""The golden test that travels in a bundle: a small raw input and the outputs that PyTorch gives for it in float32."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rsvl.runtime.bundle import GOLDEN
from rsvl.runtime.manifest import ModelSpec
from rsvl.runtime.tasks import most_informative

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
