"""The golden test that travels in a bundle: a small raw input and the outputs that PyTorch gives for it in float32."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rsvl.runtime.bundle import GOLDEN
from rsvl.runtime.features import MASK

_COUNT = 2  # a batch of one would not find a dimension that is dynamic in name only


def write_golden(
    directory: Path, inputs: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], cut: float
) -> None:
    """Writes `golden/golden.npz`: the raw inputs and `mask_logits` of the two samples that tell most.

    Those are the ones whose mask is nearest to half of the image: an empty mask would agree with almost anything.

    Args:
        directory: the bundle.
        inputs: raw inputs by name, [N, …].
        expected: the outputs of PyTorch in float32, with `mask_logits` [N, 1, h, w].
        cut: the logit above which a pixel belongs to the mask.
    """
    share = (expected[MASK] > cut).mean(axis=(1, 2, 3))
    chosen = np.sort(np.argsort(np.abs(share - 0.5), kind="stable")[:_COUNT])
    arrays = {name: array[chosen] for name, array in {**inputs, MASK: expected[MASK]}.items()}
    path = directory / GOLDEN
    path.parent.mkdir()
    np.savez_compressed(path, allow_pickle=False, **arrays)
