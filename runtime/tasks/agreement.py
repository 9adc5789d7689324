"""One number that says how far outputs agree, with what it must reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rsvl.runtime.manifest import ModelSpec

#: How much outputs may differ, by precision, relative to the largest magnitude that is expected.
RELATIVE = {"fp32": 0.02, "fp16": 0.05, "bf16": 0.1, "int8": 0.2}


@dataclass(frozen=True)
class Measure:
    """One number that says how far outputs agree.

    Attributes:
        name: what was measured, such as ``mask IoU``.
        value: the worst that was found.
        limit: what it must reach.
        at_least: whether the limit is the least value allowed; else it is the largest.
    """

    name: str
    value: float
    limit: float
    at_least: bool = False

    @property
    def passed(self) -> bool:
        """Whether the value keeps to the limit."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self) -> str:
        return f"{self.name} {self.value:.4g} ({'at least' if self.at_least else 'at most'} {self.limit:g})"


DIFFERING = "samples that differ"
"""The share of samples whose outputs differ from the first one's, in `Coverage.values`."""

_SAME = 1e-6
"""Relative difference up to which outputs are the same."""

#: How far embeddings of length 1 and boxes in 0…1 that no answer was made of yet may differ, by precision.
MEAN_COSINE = {"fp32": 0.9999, "fp16": 0.999, "bf16": 0.99, "int8": 0.9}
MEAN_BOX_DIFFERENCE = {"fp32": 0.005, "fp16": 0.02, "bf16": 0.05, "int8": 0.1}


@dataclass(frozen=True)
class Coverage:
    """How much a comparison saw: outputs that never change agree with anything.

    Attributes:
        values: shares and counts by what they are, such as ``foreground``.
        lack: in one phrase, why the comparison says little; empty where it does not.
    """

    values: dict[str, float]
    lack: str = ""


def differing(spec: ModelSpec, expected: Mapping[str, np.ndarray]) -> Coverage:
    """The share of samples, after the first, whose final outputs differ from the first one's."""
    outputs = [expected[name] for name in spec.final_outputs if name in expected and len(expected[name]) > 1]
    if not outputs:
        return Coverage({})
    others = [[relative_difference(array[:1], row[None]) > _SAME for row in array[1:]] for array in outputs]
    share = float(np.any(others, axis=0).mean())
    return Coverage({DIFFERING: share}, "" if share else "every sample gives the same output")


def cosine_measure(name: str, expected: np.ndarray, actual: np.ndarray, precision: str) -> Measure:
    """The mean cosine of embeddings [N, …, E] to those expected; 0 for one that is zero."""
    a, b = (array.reshape(-1, array.shape[-1]).astype(np.float64) for array in (expected, actual))
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosine = (a * b).sum(axis=1) / np.where(lengths > 0, lengths, 1)
    return Measure(f"{name} cosine", float(cosine.mean()), allowed(MEAN_COSINE, precision), at_least=True)


def allowed(limits: Mapping[str, float], precision: str) -> float:
    """The limit for a precision; that for int8 where it is not listed."""
    return limits.get(precision, limits["int8"])


def relative_difference(expected: np.ndarray, actual: np.ndarray) -> float:
    """Largest absolute difference, divided by the largest expected magnitude."""
    difference = np.abs(expected.astype(np.float64) - actual).max(initial=0.0)
    return float(difference / max(float(np.abs(expected).max(initial=0.0)), 1e-6))
