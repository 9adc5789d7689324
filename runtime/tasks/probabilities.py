"""Probabilities of logits, in float64."""

from __future__ import annotations

import numpy as np


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Probability of each logit on its own, float64."""
    return 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -60, 60)))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits [..., A] along the last axis, float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)
