"""Timing several ways of doing a thing so that whatever else the machine does falls on all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rsvl.runtime.progress import Progress, silent


@dataclass(frozen=True)
class Percentiles:
    """Milliseconds of a way's rounds: the median, and what 90 % and 99 % of them stay below."""

    p50: float
    p90: float
    p99: float

    @classmethod
    def of(cls, milliseconds: Sequence[float]) -> Percentiles:
        """Of measured times; with few rounds the 99th is next to the slowest."""
        return cls(*(float(value) for value in np.percentile(milliseconds, [50, 90, 99])))

    @property
    def per_second(self) -> float:
        """How often a second, by the median."""
        return 1e3 / self.p50


def interleaved(
    ways: Mapping[str, Callable[[], Any]], rounds: int, progress: Progress = silent
) -> dict[str, list[float]]:
    """Milliseconds of each way in each round; a round runs every way once and begins with another one each time.

    Args:
        ways: functions that return when their work is done; they should have been run once before.
        rounds: how often each is timed.
        progress: called after every round.
    """
    times: dict[str, list[float]] = {way: [] for way in ways}
    order = list(ways)
    for number in range(rounds):
        for way in order:
            time.sleep(0.02)  # idle threads of the way before spin for some milliseconds
            start = time.perf_counter()
            ways[way]()
            times[way].append(1e3 * (time.perf_counter() - start))
        order.append(order.pop(0))
        progress(number + 1, rounds)
    return times
