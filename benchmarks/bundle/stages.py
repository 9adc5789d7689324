"""The time of a question by stage: before the graphs, in each of them, after them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rsvl.runtime.tasks.runner import Runner

PRE, POST = "pre", "post"


def stages(runner: Runner, question: Callable[[], Any], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each stage in each round.

    ``pre`` is everything outside the graphs until the last one ends (reading, resizing, tokenizing, hashing), ``post``
    everything after it; each graph is listed by its name.

    Args:
        runner: the loaded bundle.
        question: asks it something new.
        rounds: number of rounds.
    """
    runs: list[tuple[str, float, float]] = []
    found: dict[str, list[float]] = {}
    runner.set_timing_hook(lambda graph, start, end: runs.append((graph, start, end)))
    try:
        for _ in range(rounds):
            runs.clear()
            start = time.perf_counter()
            question()
            for stage, seconds in _split(runs, start, time.perf_counter()).items():
                found.setdefault(stage, []).append(1e3 * seconds)
    finally:
        runner.set_timing_hook(None)
    return found


def _split(runs: list[tuple[str, float, float]], start: float, end: float) -> dict[str, float]:
    graphs: dict[str, float] = {}
    for name, began, ended in runs:
        graphs[name] = graphs.get(name, 0.0) + ended - began
    last = max((ended for _, _, ended in runs), default=end)
    return {PRE: last - start - sum(graphs.values()), **graphs, POST: end - last}
