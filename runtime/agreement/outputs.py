"""A module of the user's own: every final output by its largest difference relative to its largest magnitude."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rsvl.runtime.agreement.measure import RELATIVE, Measure, allowed, relative_difference
from rsvl.runtime.manifest import ModelSpec


def compare(
    spec: ModelSpec, expected: Mapping[str, np.ndarray], actual: Mapping[str, np.ndarray], precision: str
) -> tuple[Measure, ...]:
    """One measure for each final output."""
    limit = allowed(RELATIVE, precision)
    return tuple(
        Measure(f"relative difference of {name}", relative_difference(expected[name], actual[name]), limit)
        for name in spec.final_outputs
    )


def clearness(spec: ModelSpec, expected: Mapping[str, np.ndarray]) -> np.ndarray:
    """All samples tell the same."""
    return np.zeros(len(expected[next(iter(spec.final_outputs))]))
