"""How the logits of one choice among many, an answer or a class, agree.

Two choices of almost the same probability may change places: the expected one agrees where its probability is within
the limit of the largest.
"""

from __future__ import annotations

import numpy as np

from rsvl.runtime.tasks.agreement import Coverage, Measure, allowed
from rsvl.runtime.tasks.probabilities import softmax

MAX_DIFFERENCE = {"fp32": 0.005, "fp16": 0.02, "bf16": 0.05, "int8": 0.1}

_TELLING = 4
"""Samples from which on it says something that all have the same choice."""


def compare_choices(what: str, expected: np.ndarray, actual: np.ndarray, precision: str) -> tuple[Measure, ...]:
    """The share of samples with the same choice, and the largest difference of a probability.

    Args:
        what: the choices' name in the plural, such as ``answers``.
        expected: logits [N, A].
        actual: likewise.
        precision: which sets the limit.
    """
    limit = allowed(MAX_DIFFERENCE, precision)
    wanted, found = softmax(expected), softmax(actual)
    of_expected = found[np.arange(len(found)), wanted.argmax(axis=1)]
    alike = of_expected >= found.max(axis=1) - limit
    return (
        Measure(f"same {what}", float(alike.mean()), 1.0, at_least=True),
        Measure("probability difference", float(np.abs(wanted - found).max()), limit),
    )


def cover_choices(one: str, what: str, found: Coverage, logits: np.ndarray) -> Coverage:
    """What is said already of a comparison, and how many of the choices there were.

    Args:
        one: the choices' name in the singular, such as ``answer``.
        what: in the plural.
        found: what is said already.
        logits: of the samples, [N, A].
    """
    count = len(set(logits.argmax(axis=1).tolist()))
    lack = f"every sample has the same {one}" if count == 1 and len(logits) >= _TELLING else ""
    return Coverage({**found.values, what: count}, found.lack or lack)


def lead(logits: np.ndarray) -> np.ndarray:
    """How far the likeliest choice's probability is above the second's, float [N], of logits [N, A]."""
    ordered = np.sort(softmax(logits), axis=1)
    return ordered[:, -1] - ordered[:, -2] if ordered.shape[1] > 1 else ordered[:, -1]
