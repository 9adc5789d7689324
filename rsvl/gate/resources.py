"""Size and latency of two bundles side by side."""

from __future__ import annotations

import numpy as np

from rsvl.benchmarks.timing import interleaved
from rsvl.gate.verdict import Line, judge
from rsvl.runtime.progress import Progress, silent
from rsvl.runtime.tasks.runner import Runner

MIN_ROUNDS = 5
"""Fewer rounds have no interval of the median."""


def size_line(before: int, after: int, limit: float | None, strict: bool) -> Line:
    """The sizes of two bundles, bytes, with their ratio."""
    ratio = after / before
    status = judge(ratio, ratio, limit, strict, unchanged=1)
    return Line("size", "", before / 1e6, after / 1e6, ratio, ratio, ratio, limit, status, "MB")


def latency_line(
    baseline: Runner,
    other: Runner,
    inputs: dict[str, np.ndarray],
    rounds: int,
    limit: float | None,
    strict: bool,
    progress: Progress = silent,
) -> Line:
    """Times two loaded bundles in turns on the same raw inputs, batch 1, and compares round by round.

    What else the machine does falls on both halves of a round alike. The interval is that of the median of the rounds'
    ratios, from their order, whatever they are distributed like.

    Args:
        baseline: a loaded bundle.
        other: the one that is judged.
        inputs: raw inputs by name, from the bundle's golden test; their first sample is taken.
        rounds: how many times each is timed, `MIN_ROUNDS` or more.
        limit: the largest ratio allowed; None for no limit.
        strict: as in `Limits`.
        progress: called after every round.
    """
    first = {name: array[:1] for name, array in inputs.items()}
    runs = {"baseline": lambda: baseline.run(**first), "other": lambda: other.run(**first)}
    for run in runs.values():
        run()  # warm-up
    times = interleaved(runs, rounds, progress)
    before, after = np.array(times["baseline"]), np.array(times["other"])
    low, median, high = median_interval(after / before)
    status = judge(median, low, limit, strict, unchanged=1)
    values = float(np.median(before)), float(np.median(after))
    return Line("latency", "", *values, median, low, high, limit, status, "ms", images=rounds)


def median_interval(values: np.ndarray) -> tuple[float, float, float]:
    """The median between the two order statistics that hold the true one with 95 % or nearly so."""
    ordered = np.sort(values)
    # As many values are below the median as heads in that many throws of a coin, which 1.96 standard deviations hold.
    low = max(0, int(len(ordered) / 2 - 0.98 * np.sqrt(len(ordered))) - 1)
    return float(ordered[low]), float(np.median(ordered)), float(ordered[len(ordered) - 1 - low])
