"""Image–text matching: the similarities by absolute difference.

They are cosines times the model's logit scale, 100 for CLIP: there a difference of 0.1 is one of 0.001 in the cosine.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rsvl.runtime.agreement.measure import Measure, allowed
from rsvl.runtime.manifest import ModelSpec

SIMILARITY = "similarity"
LARGEST_DIFFERENCE = {"fp32": 0.05, "fp16": 0.5, "bf16": 1.0, "int8": 2.0}


def compare(
    spec: ModelSpec, expected: Mapping[str, np.ndarray], actual: Mapping[str, np.ndarray], precision: str
) -> tuple[Measure, ...]:
    """The largest difference of a similarity."""
    difference = float(np.abs(expected[SIMILARITY].astype(np.float64) - actual[SIMILARITY]).max())
    return (Measure("similarity difference", difference, allowed(LARGEST_DIFFERENCE, precision)),)


def clearness(spec: ModelSpec, expected: Mapping[str, np.ndarray]) -> np.ndarray:
    """The similarity itself: what matches tells most."""
    return expected[SIMILARITY].astype(np.float64)
