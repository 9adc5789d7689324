"""Whether one way to compute something is faster than another, timed in turns and bounded."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

MARGIN = 0.02
"""What must be gained beyond the noise: less would not pay for another backend."""

MIN_ROUNDS = 5
"""The fewest rounds whose extremes bound their median with 95 % confidence: 1 - 0.5⁵ = 97 %."""
MAX_ROUNDS = 60

_CONFIDENCE = 0.95
_ENOUGH = 10
"""Rounds after which a challenger that has won needs no more."""
_HOPELESS = 0.6
"""A challenger that takes longer by this share, divided by the rounds, in each of two rounds or more has lost."""
_PAUSE = 0.02
"""Seconds before each run: idle threads of the previous one spin for some milliseconds."""


@dataclass(frozen=True)
class Duel:
    """How a challenger did, as ratios of its time to the champion's, round by round.

    Attributes:
        ratio: their median.
        rounds: their number.
        low, high: what their true median lies above and below, each with 95 % confidence; infinite with too few rounds.
        best: the least of them.
        seconds: median time of one run of the challenger.
    """

    ratio: float
    rounds: int
    low: float
    high: float
    best: float
    seconds: float

    @property
    def won(self) -> bool:
        """Whether the challenger is faster by more than `MARGIN`, beyond the noise."""
        return self.high < 1 - MARGIN

    @property
    def lost(self) -> bool:
        """Whether it cannot win any more."""
        return self.low > 1 - MARGIN or (self.rounds > 1 and self.best > 1 + _HOPELESS / self.rounds)

    @property
    def decided(self) -> bool:
        """Whether more rounds are not worth their time."""
        return self.lost or (self.won and self.rounds >= _ENOUGH)


class Timer:
    """A clock and a way to wait, which tests replace."""

    def now(self) -> float:
        """Seconds from any start."""
        return time.perf_counter()

    def wait(self, seconds: float) -> None:
        """Waits."""
        time.sleep(seconds)


def fight(
    champion: Callable[[], Any], challenger: Callable[[], Any], until: float, end: float, timer: Timer
) -> Duel | None:
    """Times two functions in turns, each first in every other round.

    Args:
        champion: a function that returns when its work is done, already warmed up.
        challenger: another one.
        until: when to stop, by the timer, once there are `MIN_ROUNDS` rounds.
        end: when to begin no further round.
        timer: the clock.

    Returns:
        None where it was too late for one round.
    """
    ratios, times = list[float](), list[float]()
    duel = None
    while duel is None or not duel.decided:
        now = timer.now()
        if now >= end or (now >= until and len(ratios) >= MIN_ROUNDS) or len(ratios) >= MAX_ROUNDS:
            break
        order = [champion, challenger] if len(ratios) % 2 else [challenger, champion]
        taken = {run: _time(run, timer) for run in order}
        times.append(taken[challenger])
        ratios.append(taken[challenger] / max(taken[champion], 1e-9))
        duel = judge(ratios, median(times))
    return duel


def judge(ratios: list[float], seconds: float = 0.0) -> Duel:
    """What ratios say; their median is bounded by order statistics, whatever their distribution."""
    ordered, n = sorted(ratios), len(ratios)
    outside = _outside(n)
    low, high = (ordered[outside - 1], ordered[n - outside]) if outside else (-math.inf, math.inf)
    return Duel(median(ratios), n, low, high, ordered[0], seconds)


def _outside(n: int) -> int:
    """The rank, from either end of n sorted values, of the value that bounds their median; 0 where none does."""
    rank, below = 0, 0.0
    while rank < n:
        below += math.comb(n, rank) / 2**n  # that at most `rank` values lie below the median
        if below > 1 - _CONFIDENCE:
            break
        rank += 1
    return rank


def _time(run: Callable[[], Any], timer: Timer) -> float:
    timer.wait(_PAUSE)
    start = timer.now()
    run()
    return timer.now() - start
