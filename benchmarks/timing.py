"""Timing several functions in alternating rounds, so that background load affects all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rsvl.runtime.progress import Progress, silent

_PAUSE = 0.1
"""Seconds between two runs. The threads of an ONNX Runtime session with default options spin after a run, for 33 ms as
measured, on cores that the next runner needs."""


@dataclass(frozen=True)
class Percentiles:
    """Latency percentiles in milliseconds."""

    p50: float
    p90: float
    p99: float

    @classmethod
    def of(cls, milliseconds: Sequence[float]) -> Percentiles:
        """The percentiles of measured times; with few rounds the 99th is close to the maximum."""
        return cls(*(float(value) for value in np.percentile(milliseconds, [50, 90, 99])))

    @property
    def per_second(self) -> float:
        """Runs per second at the median latency."""
        return 1e3 / self.p50


def interleaved(
    runners: Mapping[str, Callable[[], Any]], rounds: int, progress: Progress = silent
) -> dict[str, list[float]]:
    """Times each runner once per round, in milliseconds; each round starts with a different runner.

    Args:
        runners: functions that return when their work is done, by name; already warmed up.
        rounds: number of rounds.
        progress: called after every round.
    """
    times: dict[str, list[float]] = {name: [] for name in runners}
    order = list(runners)
    for number in range(rounds):
        for name in order:
            time.sleep(_PAUSE)
            start = time.perf_counter()
            runners[name]()
            times[name].append(1e3 * (time.perf_counter() - start))
        order.append(order.pop(0))
        progress(number + 1, rounds)
    return times
