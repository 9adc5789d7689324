"""Which of two is faster: what ratios say, and when a duel ends. No test depends on real time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import cycle
from statistics import median

import pytest

from rsvl.runtime.tuning.duel import MAX_ROUNDS, Timer, fight, judge


class Clock(Timer):
    """Moved by `work` alone."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def wait(self, seconds: float) -> None:
        pass

    def work(self, *seconds: float) -> Callable[[], None]:
        """Something that takes these times, one after the other and again."""
        times: Iterator[float] = cycle(seconds)

        def run() -> None:
            self.time += next(times)

        return run


@pytest.fixture
def clock() -> Clock:
    return Clock()


#: Number of values → rank of the order statistic that bounds their median with 95 % confidence on one side, as
#: published tables of the sign test's critical values have it (one-sided 5 %).
RANKS = {4: 0, 5: 1, 7: 1, 8: 2, 10: 2, 11: 3, 13: 4, 16: 5, 20: 6, 25: 8, 30: 11, 40: 15}


@pytest.mark.parametrize(("n", "rank"), RANKS.items())
def test_median_is_bounded_as_the_sign_tests_tables_say(n: int, rank: int) -> None:
    duel = judge([float(i) for i in range(n, 0, -1)])
    assert duel.ratio == (n + 1) / 2 and duel.rounds == n and duel.best == 1
    assert (duel.low, duel.high) == ((rank, n + 1 - rank) if rank else (-math.inf, math.inf))


@pytest.mark.parametrize(
    ("challenger", "won"),
    [
        ((0.9,), True),
        ((0.90, 0.97, 0.93), True),
        ((0.985,), False),  # faster, but not by what would pay
        ((0.9, 1.05), False),  # faster every other time: within the noise
        ((1.0,), False),
        ((1.2,), False),
    ],
)
def test_challenger_wins_only_beyond_margin_and_noise(clock: Clock, challenger: tuple[float, ...], won: bool) -> None:
    duel = fight(clock.work(1.0), clock.work(*challenger), 1e9, 1e9, clock)
    assert duel is not None and duel.won == won
    assert duel.ratio == pytest.approx(median(challenger))


def test_first_place_changes_from_round_to_round(clock: Clock) -> None:
    order = []
    fight(lambda: order.append("champion"), lambda: order.append("challenger"), 1e9, 1e9, clock)
    assert order[:4] == ["challenger", "champion", "champion", "challenger"]


@pytest.mark.parametrize(("ratio", "rounds"), [(2.0, 2), (1.25, 3), (1.05, 5)])
def test_slower_challenger_loses_soon(clock: Clock, ratio: float, rounds: int) -> None:
    duel = fight(clock.work(1.0), clock.work(ratio), 1e9, 1e9, clock)
    assert duel is not None and duel.lost and duel.rounds == rounds


def test_undecided_duel_ends_by_rounds(clock: Clock) -> None:
    duel = fight(clock.work(1.0), clock.work(0.9, 1.05), 1e9, 1e9, clock)
    assert duel is not None and not duel.won and duel.rounds == MAX_ROUNDS


@pytest.mark.parametrize(
    ("until", "end", "rounds"),
    [(0.0, 1e9, 5), (12.5, 1e9, 7), (1e9, 5.0, 3), (0.0, 0.0, None)],
    ids=["a verdict's rounds past its share", "its share", "the end", "too late"],
)
def test_time_bounds_the_rounds(clock: Clock, until: float, end: float, rounds: int | None) -> None:
    duel = fight(clock.work(1.0), clock.work(0.9), until, end, clock)
    assert (None if duel is None else duel.rounds) == rounds
    assert duel is None or duel.won == (duel.rounds >= 5)
