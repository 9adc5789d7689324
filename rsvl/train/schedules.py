"""How the learning rate goes over a run: its factor at each step."""

from __future__ import annotations

import math

START, END = 0.1, 1e-4
"""Of a cycle, relative to its peak."""


def factor(schedule: str, step: int, warmup: int, steps: int) -> float:
    """The learning rate's factor at a 0-based step.

    Args:
        schedule: ``cosine`` or ``one-cycle``.
        step: the step.
        warmup: steps in which it rises.
        steps: of the whole run.
    """
    return (one_cycle if schedule == "one-cycle" else warmup_cosine)(step, warmup, steps)


def warmup_cosine(step: int, warmup: int, steps: int) -> float:
    """Linear from 0 to 1 over `warmup` steps, then a cosine to 0 at `steps`."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup))))


def one_cycle(step: int, warmup: int, steps: int) -> float:
    """A half cosine from `START` to 1 over `warmup` steps, then another to `END` at the last (Smith & Topin, 2018)."""
    if step < warmup:
        return _between(START, 1.0, step / warmup)
    return _between(1.0, END, min(1.0, (step - warmup) / max(1, steps - 1 - warmup)))


def _between(first: float, last: float, share: float) -> float:
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * share))
