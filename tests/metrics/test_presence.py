"""The fit of presence: the likelihood's own optimum, probabilities that mean what they say, calibration error."""

from __future__ import annotations

import numpy as np
import pytest

from rsvl.metrics.presence import PresenceSample, cross_fitted, fit_presence, presences, reliability
from rsvl.runtime.presence import Presence, features

TRUE = Presence((-1.0, 1.5, 0.5, 0.3), 0.1)


def drawn(count: int, seed: int) -> list[PresenceSample]:
    """Samples of a world in which `TRUE` is right."""
    rng = np.random.default_rng(seed)
    found = []
    for group in range(count):
        strongest = tuple(float(v) for v in (rng.uniform(0.3, 0.95), rng.uniform(0.4, 0.99), rng.uniform(1, 400)))
        if rng.random() < 0.2:
            found.append(PresenceSample(bool(rng.random() < 0.1), None, group))
        else:
            found.append(PresenceSample(bool(rng.random() < TRUE.probability(*strongest)), strongest, group))
    return found


def test_fit_is_the_optimum_of_the_penalised_likelihood() -> None:
    optimize = pytest.importorskip("scipy.optimize")
    samples = drawn(300, 1)
    seen = [each for each in samples if each.strongest]
    x = np.array([features(*each.strongest) for each in seen])
    y = np.array([each.present for each in seen], float)

    def loss(w: np.ndarray) -> float:
        z = x @ w
        return float((np.logaddexp(0, z) - y * z).sum() + 0.5e-2 * (w**2).sum())

    best = optimize.minimize(loss, np.zeros(4), method="BFGS", options={"gtol": 1e-9})
    assert fit_presence(samples).weights == pytest.approx(best.x, abs=1e-4)


def test_fit_of_many_samples_finds_the_truth_and_is_calibrated() -> None:
    samples, others = drawn(20_000, 2), drawn(20_000, 3)
    fitted = fit_presence(samples)
    assert fitted.weights == pytest.approx(TRUE.weights, abs=0.25) and fitted.empty == pytest.approx(0.1, abs=0.02)
    error, curve = reliability(presences(fitted, others), np.array([each.present for each in others]))
    assert error < 0.02 and sum(curve.sentences) == 20_000


def test_each_sample_is_judged_by_a_fit_without_its_own_image() -> None:
    samples = drawn(60, 4)
    want = []
    for one in samples:
        rest = [each for each in samples if each.group % 5 != one.group % 5]
        want.append(float(presences(fit_presence(rest), [one])[0]))
    assert cross_fitted(samples) == pytest.approx(want)


def test_separable_samples_give_finite_weights() -> None:
    samples = [PresenceSample(i % 2 == 0, (0.9, 0.95, 50.0) if i % 2 == 0 else (0.4, 0.5, 2.0), i) for i in range(20)]
    fitted = fit_presence(samples)
    assert fitted.probability(0.9, 0.95, 50) > 0.9 > 0.1 > fitted.probability(0.4, 0.5, 2)


def test_calibration_error_of_known_shares() -> None:
    probability = np.array([0.05] * 10 + [0.95] * 10)
    present = np.array([False] * 10 + [True] * 5 + [False] * 5)
    error, curve = reliability(probability, present)
    assert error == pytest.approx(0.5 * 0.05 + 0.5 * 0.45) and curve.sentences == [10, 10] and curve.share == [0.0, 0.5]
