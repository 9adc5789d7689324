"""Taking chosen rows of every sample: layers, regions or cells that a sentence asks for."""

from __future__ import annotations

import torch
from torch import Tensor


def take_rows(features: Tensor, index: Tensor, sample: Tensor | None = None) -> Tensor:
    """Rows of samples, by one index over the rows of all of them: `gather` would want an index for every element.

    Args:
        features: R rows of B samples, [B, R, ...].
        index: which rows, int64 [N, K].
        sample: whose rows, int64 [N]; by default N is B and each takes its own.

    Returns:
        [N, K, ...].
    """
    if sample is None:
        sample = torch.arange(index.shape[0], device=index.device)
    flat = sample[:, None] * features.shape[1] + index
    return features.flatten(0, 1).index_select(0, flat.flatten()).unflatten(0, flat.shape)
