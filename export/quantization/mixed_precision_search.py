"""Which parts of a model go to 8 bits: as much of its arithmetic as accuracy allows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Mix = frozenset[str]
"""Names of the parts that are in 8 bits."""

Measure = Callable[[Mix], float]
"""How much lower the figure is with a mix than in float32."""


@dataclass(frozen=True)
class Part:
    """A part of the model.

    Attributes:
        name: what it is called.
        gain: what 8 bits do faster of it: its multiply-adds, or its weights where only those are in 8 bits.
        drop: how much lower the figure is with this part alone in 8 bits.
    """

    name: str
    gain: int
    drop: float

    @property
    def price(self) -> float:
        """What is lost for each unit of gain; a part that loses nothing costs nothing."""
        if self.drop <= 0:
            return 0.0
        return self.drop / self.gain if self.gain else math.inf


def choose(parts: Sequence[Part], measure: Measure, allowed: float) -> Mix:
    """The mix with the most gain that greedy choice finds within the allowed drop.

    From everything in 8 bits, the part of the highest price goes back to float until the mix, measured as a whole,
    stays within; then the parts that went are tried again in the mix, the one of most gain first. Nothing in 8 bits
    needs no measuring: it drops nothing. The mix is within the best one's gain by less than one part's (as with every
    greedy filling of a knapsack) where drops add up.

    Args:
        parts: the model's parts.
        measure: asked for mixes that hold at least one part.
        allowed: the most that the figure may drop.
    """
    by_price = sorted(parts, key=lambda part: (-part.price, part.gain))
    mix = frozenset(part.name for part in parts)
    gone: list[Part] = []
    for part in by_price:
        if measure(mix) <= allowed:
            break
        mix -= {part.name}
        gone.append(part)
    for part in sorted(gone[:-1], key=lambda part: -part.gain):  # without the last one the mix was over the limit
        with_it = mix | {part.name}
        if part.gain and part.drop <= allowed and measure(with_it) <= allowed:
            mix = with_it
    return mix
