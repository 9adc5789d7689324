"""Visual question answering: the same answer, and the probabilities of all.

Two answers of almost the same probability may change places: the expected answer agrees where its probability is
within the limit of the largest.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rsvl.runtime.agreement.measure import Measure, allowed
from rsvl.runtime.manifest import ModelSpec

ANSWER = "answer_logits"
LARGEST_DIFFERENCE = {"fp32": 0.005, "fp16": 0.02, "bf16": 0.05, "int8": 0.1}


def compare(
    spec: ModelSpec, expected: Mapping[str, np.ndarray], actual: Mapping[str, np.ndarray], precision: str
) -> tuple[Measure, ...]:
    """The share of samples with the same answer, and the largest difference of a probability."""
    limit = allowed(LARGEST_DIFFERENCE, precision)
    wanted, found = softmax(expected[ANSWER]), softmax(actual[ANSWER])
    of_expected = found[np.arange(len(found)), wanted.argmax(axis=1)]
    alike = of_expected >= found.max(axis=1) - limit
    return (
        Measure("same answers", float(alike.mean()), 1.0, at_least=True),
        Measure("probability difference", float(np.abs(wanted - found).max()), limit),
    )


def clearness(spec: ModelSpec, expected: Mapping[str, np.ndarray]) -> np.ndarray:
    """The likeliest answer's lead over the second."""
    ordered = np.sort(softmax(expected[ANSWER]), axis=1)
    return ordered[:, -1] - ordered[:, -2] if ordered.shape[1] > 1 else ordered[:, -1]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits [..., A] along the last axis, float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)
