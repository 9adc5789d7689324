"""The gate's intervals against Student's, and how often chance turns a group red in simulated datasets."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from rsvl.gate import Status, intervals
from rsvl.gate.intervals import simultaneous, student_quantile
from rsvl.gate.verdict import judge

IMAGES, PER_IMAGE, CLASSES = 60, 3, 12
REPEATS = 60

Draw = Callable[[np.random.Generator], np.ndarray]


@pytest.fixture(autouse=True)
def _fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "RESAMPLES", 400)


@pytest.mark.parametrize(("tail", "freedom"), [(0.025, 9), (0.001, 9), (1e-4, 14), (0.025, 3000), (1e-5, 200)])
def test_quantile_is_students(tail: float, freedom: int) -> None:
    assert student_quantile(tail, freedom) == pytest.approx(stats.t.isf(tail, freedom), rel=1e-4)


def test_one_group_has_nearly_students_interval() -> None:
    values = np.random.default_rng(1).normal(0.1, 0.3, (40, 1))
    found = simultaneous(values, np.ones_like(values))
    low, high = stats.t.interval(0.95, 39, values.mean(), stats.sem(values[:, 0]))
    assert found.mean[0] == pytest.approx(values.mean()) and found.images[0] == 40
    assert (found.high[0] - found.low[0]) / (high - low) == pytest.approx(1, abs=0.1)


def test_sentences_that_fail_together_tell_less_than_as_many_images() -> None:
    rng = np.random.default_rng(2)
    one_each, weights = rng.normal(0, 1, (200, 1)), np.ones((200, 1))
    ten_each = np.repeat(rng.normal(0, 1, (20, 1)), 10, axis=0).reshape(20, 10).sum(axis=1, keepdims=True)
    few, many = simultaneous(ten_each, np.full((20, 1), 10.0)), simultaneous(one_each, weights)
    assert few.high[0] - few.low[0] > 2 * (many.high[0] - many.low[0])


def dataset(rng: np.random.Generator, drops: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums and weights of all samples and of each class, from the drops [images, per image] and classes of samples."""
    member = np.concatenate([np.ones((*classes.shape, 1)), classes[..., None] == np.arange(CLASSES)], axis=2)
    return (drops[..., None] * member).sum(axis=1), member.sum(axis=1)


def red(rng: np.random.Generator, drops: np.ndarray, classes: np.ndarray, limit: float) -> bool:
    sums, weights = dataset(rng, drops, classes)
    judged = np.count_nonzero(weights, axis=0) >= 10
    found = simultaneous(sums[:, judged], weights[:, judged])
    return any(
        judge(change, low, limit, strict=False) is Status.RED for change, low in zip(found.mean, found.low, strict=True)
    )


SHAPE = (IMAGES, PER_IMAGE)
# How samples change where nothing got worse on the mean, so that every red is a false one; the limit is no drop at all,
# the most sensitive there is.
NOTHING_WRONG: dict[str, Draw] = {
    "a few flip either way": lambda rng: rng.choice([-1.0, 0.0, 1.0], p=[0.05, 0.9, 0.05], size=SHAPE),
    "many flip either way": lambda rng: rng.choice([-1.0, 0.0, 1.0], p=[0.2, 0.6, 0.2], size=SHAPE),
    "all shift a little": lambda rng: rng.normal(0, 0.1, SHAPE),
    "an image's samples shift alike": lambda rng: np.repeat(rng.normal(0, 0.1, (IMAGES, 1)), PER_IMAGE, axis=1),
    "a few lose much, most gain a little": lambda rng: rng.exponential(0.2, SHAPE) - 0.2,
}


@pytest.mark.parametrize("draw", NOTHING_WRONG.values(), ids=NOTHING_WRONG.keys())
def test_chance_alone_turns_one_gate_in_twenty_red_at_most(draw: Draw) -> None:
    rng = np.random.default_rng(7)
    alarms = sum(red(rng, draw(rng), rng.integers(CLASSES, size=SHAPE), 0.0) for _ in range(REPEATS))
    # The 99.9th percentile of what a rate of 5 % gives in this many repeats.
    assert alarms <= stats.binom.isf(0.001, REPEATS, 0.05)


def test_without_the_intervals_chance_would_turn_nearly_every_gate_red() -> None:
    """What the rule is for: with a dozen classes some metric is always beyond its limit."""
    rng, naive = np.random.default_rng(7), 0
    for _ in range(REPEATS):
        drops = NOTHING_WRONG["a few flip either way"](rng)
        sums, weights = dataset(rng, drops, rng.integers(CLASSES, size=SHAPE))
        naive += bool((sums.sum(0) / weights.sum(0) > 0.01).any())
    assert naive > 0.9 * REPEATS


def test_loss_in_one_class_alone_is_found() -> None:
    rng, found = np.random.default_rng(8), 0
    for _ in range(REPEATS):
        classes = rng.integers(CLASSES, size=SHAPE)
        classes[:12, 0] = 3  # a dozen images at least
        drops = rng.normal(0, 0.05, SHAPE) + np.where(classes == 3, rng.uniform(0.2, 0.8, SHAPE), 0)
        found += red(rng, drops, classes, 0.05)
    assert found >= 0.95 * REPEATS
