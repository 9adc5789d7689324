"""Fits and judges `rsvl.runtime.presence.Presence`: how well a probability that a thing is there means what it says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rsvl.runtime.presence import Presence, features

_RIDGE = 1e-2
_STEPS = 50
_BINS = 10


class PresenceSample(NamedTuple):
    """What a model made of one sentence.

    Attributes:
        present: whether the thing is there.
        strongest: mean and largest probability and area in values of the model's mask of the object of which mean times
            area is largest; None where nothing was found.
        group: samples of one image, which are fitted and judged together.
    """

    present: bool
    strongest: tuple[float, float, float] | None
    group: int


class Curve(NamedTuple):
    """A reliability curve: of ten equal ranges of probability those with samples.

    Attributes:
        probability: mean of each.
        share: of samples in which the thing was there.
        sentences: how many.
    """

    probability: list[float]
    share: list[float]
    sentences: list[int]


def fit_presence(samples: Sequence[PresenceSample]) -> Presence:
    """The logistic function of the greatest likelihood, with a ridge of 0.01 that keeps the weights finite.

    Newton's method on the penalised log-likelihood, which is concave. A sentence without an object says only how often
    its thing was there all the same, with one imagined sample of each kind (Laplace's rule).
    """
    seen = [sample for sample in samples if sample.strongest is not None]
    x = np.array([features(*sample.strongest) for sample in seen if sample.strongest is not None]).reshape(-1, 4)
    y, weights = np.array([float(sample.present) for sample in seen]), np.zeros(4)
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(x @ weights, -60, 60)))
        gradient = x.T @ (y - p) - _RIDGE * weights
        step = np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x + _RIDGE * np.eye(4), gradient)
        weights = weights + step
        if np.abs(step).max() < 1e-9:
            break
    empty = [sample.present for sample in samples if sample.strongest is None]
    first, second, third, fourth = (float(weight) for weight in weights)
    return Presence((first, second, third, fourth), (sum(empty) + 1) / (len(empty) + 2))


def presences(fitted: Presence, samples: Sequence[PresenceSample]) -> np.ndarray:
    """The probability of each sample, float64 [N]."""
    return np.array([fitted.empty if s.strongest is None else fitted.probability(*s.strongest) for s in samples])


def cross_fitted(samples: Sequence[PresenceSample], folds: int = 5) -> np.ndarray:
    """The probability of each sample by a fit to the other images, float64 [N]."""
    found = np.zeros(len(samples))
    fold = np.array([sample.group % folds for sample in samples])
    for one in range(folds):
        out = np.flatnonzero(fold == one).tolist()
        fitted = fit_presence([samples[i] for i in np.flatnonzero(fold != one).tolist()])
        found[out] = presences(fitted, [samples[i] for i in out])
    return found


def reliability(probability: np.ndarray, present: np.ndarray) -> tuple[float, Curve]:
    """The expected calibration error over ten equal ranges, and the curve (Guo et al., 2017, section 2).

    Args:
        probability: float [N], 0…1.
        present: bool [N].
    """
    place = np.minimum((probability * _BINS).astype(np.int64), _BINS - 1)
    curve, error = Curve([], [], []), 0.0
    for one in range(_BINS):
        inside = place == one
        count = int(inside.sum())
        if count:
            mean, share = float(probability[inside].mean()), float(present[inside].mean())
            curve.probability.append(mean)
            curve.share.append(share)
            curve.sentences.append(count)
            error += abs(mean - share) * count / len(probability)
    return error, curve
