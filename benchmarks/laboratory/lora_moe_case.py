"""The arguments of one call of `rsvl::LoRAMoE`, for the operation's own tests and for its kernel's."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


class LoRAMoECase(NamedTuple):
    """Sizes of one call.

    `gate_patches` where the gates' dimensions are not those of the patches; `alike` patches in a row choose the same
    experts.
    """

    patches: tuple[int, ...]
    cin: int
    cout: int
    experts: int
    rank: int
    chosen: int
    gate_patches: tuple[int, ...] | None = None
    alike: int = 1

    def arrays(self) -> Arrays:
        """x, weight, a, b and gate in float64, the same in every run; gates of both signs, zero but for `chosen`."""
        rng = np.random.default_rng(sum(self.patches) + self.cin)
        x = rng.standard_normal((*self.patches, self.cin))
        weight = rng.standard_normal((self.cout, self.cin)) / self.cin**0.5
        a = rng.standard_normal((self.experts, self.rank, self.cin)) / self.cin**0.5
        b = rng.standard_normal((self.experts, self.cout, self.rank)) / self.rank**0.5
        places = self.gate_patches or self.patches
        gate = rng.uniform(-1, 1, (*places, self.experts))
        first = np.arange(math.prod(places)).reshape(*places, 1) // self.alike
        return x, weight, a, b, np.where((np.arange(self.experts) - first) % self.experts < self.chosen, gate, 0.0)
