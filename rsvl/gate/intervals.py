"""Confidence intervals of many groups' differences at once, by a paired bootstrap over images.

A gate looks at many groups: with an interval of 95 % each, one in twenty would lie on the wrong side by chance alone.
These intervals are simultaneous: in 95 % of datasets *all* of them hold what they should.

- Images are drawn with replacement, each with all its samples of both models: sentences about one image succeed and
  fail together, and what is hard is hard for both.
- In each draw the largest deviation of any group, in units of the group's standard error, is noted. The 95th percentile
  of these is how many standard errors wide the intervals are (the max-t method of Romano and Wolf, 2005). Groups that
  overlap or move together cost nothing twice.
- A standard error from few images is itself uncertain: the width becomes that of Student's t with as many degrees
  of freedom as the group has images, less one (as in Hesterberg's expanded bootstrap interval, 2015).
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

CONFIDENCE = 0.95
RESAMPLES = 2000
_AT_ONCE = 1 << 22
"""Draws held in memory: resamples times images."""


@dataclass(frozen=True)
class Intervals:
    """Of each group: the mean, its interval, and how many images it has; float64 and int64 [G]."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    images: np.ndarray


def simultaneous(sums: np.ndarray, weights: np.ndarray, seed: int = 0) -> Intervals:
    """Means of G groups over n images, with intervals that hold all at once with `CONFIDENCE`.

    Args:
        sums: each image's sum of what is averaged, float [n, G], 0 where it has no sample of the group.
        weights: each image's weight in the group, float [n, G]; every group has at least two images.
        seed: of the resampling.
    """
    images = np.count_nonzero(weights, axis=0)
    total = weights.sum(axis=0)
    mean = sums.sum(axis=0) / total
    # The mean is a ratio of sums, whose error to the first order is that of the residuals.
    error = np.sqrt(images / (images - 1) * np.square(sums - weights * mean).sum(axis=0)) / total
    tail = NormalDist().cdf(-_width(sums, weights, mean, error * np.sqrt((images - 1) / images), seed))
    half = error * np.array([student_quantile(tail, int(n) - 1) for n in images])
    return Intervals(mean, mean - half, mean + half, images)


def _width(sums: np.ndarray, weights: np.ndarray, mean: np.ndarray, error: np.ndarray, seed: int) -> float:
    """How many standard errors the largest deviation of a resample stays within, with `CONFIDENCE`."""
    narrowest = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    varies = error > 0
    if not varies.any():
        return narrowest
    rng, n = np.random.default_rng(seed), len(sums)
    sums, weights, mean, error = sums[:, varies], weights[:, varies], mean[varies], error[varies]
    largest: list[np.ndarray] = []
    for start in range(0, RESAMPLES, size := max(1, _AT_ONCE // n)):
        drawn = rng.multinomial(n, np.full(n, 1 / n), min(size, RESAMPLES - start)).astype(np.float64)
        weight = drawn @ weights
        absent = weight == 0  # no image of the group was drawn: it says nothing
        deviation = np.abs((drawn @ sums) / np.where(absent, 1, weight) - mean) / error
        largest.append(np.where(absent, 0, deviation).max(axis=1))
    return max(narrowest, float(np.quantile(np.concatenate(largest), CONFIDENCE)))


def student_quantile(tail: float, freedom: int) -> float:
    """The value that Student's t exceeds with probability `tail`, 0…0.5, at `freedom` degrees of freedom.

    By t = √ν · tan θ the density becomes cos^(ν-1) θ, which is integrated numerically.
    """
    angle = np.linspace(0, np.pi / 2, 10_001)
    density = np.cos(angle) ** (freedom - 1)
    slices = (density[1:] + density[:-1]) / 2
    beyond = np.append(np.cumsum(slices[::-1])[::-1], 0) / (2 * slices.sum())
    return float(np.sqrt(freedom) * np.tan(np.interp(-tail, -beyond, angle)))
