"""Which parts of a model are quantized to 8 bits: as much of its arithmetic as accuracy allows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Selection = frozenset[str]
"""Names of the parts that are in 8 bits; the others stay float."""

MeasureDrop = Callable[[Selection], float]
"""How much lower the metric is with these parts in 8 bits than in float32."""


@dataclass(frozen=True)
class Part:
    """A part of the model.

    Attributes:
        name: what it is called.
        gain: what 8 bits speed up of it: its MACs, or its weights where only those are in 8 bits.
        drop: how much lower the metric is with this part alone in 8 bits.
    """

    name: str
    gain: int
    drop: float

    @property
    def drop_per_gain(self) -> float:
        """The drop for each unit of gain; 0 for a part without a drop."""
        if self.drop <= 0:
            return 0.0
        return self.drop / self.gain if self.gain else math.inf


def choose(parts: Sequence[Part], measure: MeasureDrop, allowed: float) -> Selection:
    """The selection with the most gain that a greedy search finds within the allowed drop.

    Starting with everything in 8 bits, the part with the highest drop per gain returns to float until the selection,
    measured as a whole, stays within; then the parts that were removed are tried again, the one of most gain first.
    Nothing in 8 bits needs no measuring: it drops nothing. Where drops add up, the gain is short of the best
    selection's by less than one part's (as with every greedy filling of a knapsack).

    Args:
        parts: the model's parts.
        measure: called with selections of at least one part.
        allowed: the most that the metric may drop.
    """
    by_cost = sorted(parts, key=lambda part: (-part.drop_per_gain, part.gain))
    selection = frozenset(part.name for part in parts)
    removed: list[Part] = []
    for part in by_cost:
        if measure(selection) <= allowed:
            break
        selection -= {part.name}
        removed.append(part)
    for part in sorted(removed[:-1], key=lambda part: -part.gain):  # with the last one it was over the limit
        with_it = selection | {part.name}
        if part.gain and part.drop <= allowed and measure(with_it) <= allowed:
            selection = with_it
    return selection
