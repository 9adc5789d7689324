"""How far computed outputs agree with expected ones, by task: what export and check hold a bundle to.

Each task's file knows which of its outputs matters and what may differ; a module of the user's own is compared output
by output (`outputs.py`). Only NumPy is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from rsvl.runtime.agreement import answers, boxes, masks, outputs, similarity
from rsvl.runtime.agreement.measure import Measure
from rsvl.runtime.manifest import ANSWERING, GROUNDING, MATCHING, SEGMENTATION, ModelSpec

__all__ = ["Measure", "compare", "most_telling"]

Tensors = Mapping[str, np.ndarray]


class Rule(Protocol):
    """What each task's file has."""

    def compare(self, spec: ModelSpec, expected: Tensors, actual: Tensors, precision: str) -> tuple[Measure, ...]:
        """See `rsvl.runtime.agreement.compare`."""

    def clearness(self, spec: ModelSpec, expected: Tensors) -> np.ndarray:
        """How much each sample tells when its outputs are compared, float [N]: a tie or an empty mask tells little."""


_RULES: dict[str, Rule] = {SEGMENTATION: masks, GROUNDING: boxes, ANSWERING: answers, MATCHING: similarity}


def compare(spec: ModelSpec, expected: Tensors, actual: Tensors, precision: str) -> tuple[Measure, ...]:
    """Compares final outputs.

    Args:
        spec: the model's declaration.
        expected: each of `spec.final_outputs` by name, [N, …].
        actual: the same, of the same shapes and finite.
        precision: the bundle's, which sets the limits.
    """
    return _RULES.get(spec.task, outputs).compare(spec, expected, actual, precision)


def most_telling(spec: ModelSpec, expected: Tensors, count: int) -> np.ndarray:
    """Indices, ascending, of the `count` samples whose comparison tells most."""
    clearness = _RULES.get(spec.task, outputs).clearness(spec, expected)
    return np.sort(np.argsort(-clearness, kind="stable")[:count])
