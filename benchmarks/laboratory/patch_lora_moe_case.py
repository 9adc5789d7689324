"""The arguments of one call of `rsvl::PatchLoRAMoE`, for the operation's own tests and for its kernel's."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


class PatchLoRAMoECase(NamedTuple):
    """Sizes of one call.

    `alone` sends all patches to the first experts, `tied` makes all gates that are not zero equal.
    """

    patches: int
    channels: int
    side: tuple[int, int]
    experts: int
    rank: int
    chosen: int
    alone: bool = False
    tied: bool = False

    def arrays(self) -> Arrays:
        """x, up, down and gate in float64, the same in every run; gates of both signs, zero but for `chosen`."""
        rng = np.random.default_rng(self.patches + self.channels)
        x = rng.standard_normal((self.patches, self.channels, *self.side))
        up = rng.standard_normal((self.experts, self.channels, self.rank)) / self.rank**0.5
        down = rng.standard_normal((self.experts, self.rank, self.channels)) / self.channels**0.5
        gate = (
            np.full((self.patches, self.experts), 0.5)
            if self.tied
            else rng.uniform(-1, 1, (self.patches, self.experts))
        )
        first = 0 if self.alone else np.arange(self.patches)[:, None]
        return x, up, down, np.where((np.arange(self.experts) - first) % self.experts < self.chosen, gate, 0.0)
