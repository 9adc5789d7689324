"""Referring segmentation: masks by intersection over union, and their logits.

A mask is where the probability exceeds the declared threshold. Two rules keep the comparison meaningful:

- A small mask cannot agree to 1 % and still differ in a pixel, and a pixel on the border is within rounding: samples
  with fewer than `LEAST_PIXELS` in both masks together count in the IoU of all samples taken as one mask.
- Where all samples' masks at the threshold together have fewer than that inside or outside, as with random weights,
  they say nothing: the masks are then cut at the median of all reference logits, where half of the pixels are inside
  and most of them have a chance to fall on the wrong side.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from rsvl.runtime.agreement.measure import RELATIVE, Measure, allowed, relative_difference
from rsvl.runtime.manifest import ModelSpec

MASK = "mask_logits"
LEAST_PIXELS = 1000
LEAST_IOU = {"fp32": 0.995, "fp16": 0.99, "bf16": 0.98, "int8": 0.95}


def compare(
    spec: ModelSpec, expected: Mapping[str, np.ndarray], actual: Mapping[str, np.ndarray], precision: str
) -> tuple[Measure, ...]:
    """The least IoU of the masks that counts, and the relative difference of their logits."""
    cut, _ = mask_cut(expected[MASK], spec.threshold)
    _, least = mask_ious(expected[MASK], actual[MASK], cut)
    return (
        Measure("mask IoU", least, allowed(LEAST_IOU, precision), at_least=True),
        Measure(
            "relative logit difference",
            relative_difference(expected[MASK], actual[MASK]),
            allowed(RELATIVE, precision),
        ),
    )


def clearness(spec: ModelSpec, expected: Mapping[str, np.ndarray]) -> np.ndarray:
    """Largest where the mask covers half of the image: an empty mask would agree with almost anything."""
    cut, _ = mask_cut(expected[MASK], spec.threshold)
    return -np.abs((expected[MASK] > cut).mean(axis=(1, 2, 3)) - 0.5)


def mask_cut(logits: np.ndarray, threshold: float) -> tuple[float, str]:
    """The logit at which masks are cut, and which it is, ``threshold`` or ``median``: see the module's docstring.

    Args:
        logits: reference logits [N, 1, h, w].
        threshold: probability in (0, 1).
    """
    cut = math.log(threshold / (1 - threshold))
    inside = int((logits > cut).sum())
    if min(inside, logits.size - inside) >= LEAST_PIXELS:
        return cut, "threshold"
    return float(np.median(logits)), "median"


def mask_ious(expected: np.ndarray, actual: np.ndarray, cut: float) -> tuple[np.ndarray, float]:
    """Agreement of the masks ``logits > cut`` of two arrays of logits [N, 1, h, w].

    Returns:
        Each sample's intersection over union, float64 [N], 1 where both masks are empty; and the least that counts:
        over the samples with `LEAST_PIXELS` or more, and over all samples taken as one mask.
    """
    a, b = ((logits > cut).reshape(len(logits), -1) for logits in (expected, actual))
    both, either = (a & b).sum(axis=1), (a | b).sum(axis=1)
    ious = np.where(either == 0, 1.0, both / np.maximum(either, 1))
    together = both.sum() / either.sum() if either.any() else 1.0
    return ious, float(min([together, *ious[either >= LEAST_PIXELS]]))
