"""Temperature scaling: one number that makes a classifier's probabilities mean what they say (Guo et al., 2017)."""

from __future__ import annotations

import math

import numpy as np

_LEAST, _MOST = 0.05, 20.0
_STEPS = 60


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature T at which softmax(logits / T) gives the true classes the greatest likelihood.

    The negative log-likelihood is convex in 1/T, so that a golden-section search finds its minimum.

    Args:
        logits: float [N, C].
        labels: int [N], the true classes.

    Returns:
        T in 0.05…20; 1 without images.
    """
    if not len(logits):
        return 1.0
    values, rows = logits.astype(np.float64), np.arange(len(labels))
    values = values - values.max(axis=1, keepdims=True)

    def loss(inverse: float) -> float:
        scaled = values * inverse
        return float(np.mean(np.log(np.exp(scaled).sum(axis=1)) - scaled[rows, labels]))

    golden = (math.sqrt(5) - 1) / 2
    low, high = 1 / _MOST, 1 / _LEAST
    for _ in range(_STEPS):
        first, second = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, second) if loss(first) < loss(second) else (first, high)
    return 2 / (low + high)
