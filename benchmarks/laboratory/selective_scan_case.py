"""The arguments of one call of `rsvl::SelectiveScan`, for the operation's own tests and for its kernel's."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

ScanArrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


class SelectiveScanCase(NamedTuple):
    """Sizes of one call, and how long its steps are.

    `steps` are ``short`` (0.001 to 0.1, as Mamba starts with), ``wide`` (a softplus of what a trained layer gives, up
    to 5 or so: decays underflow) or ``stopped`` (wide, but every third is zero).
    """

    batch: int
    channels: int
    length: int
    states: int = 16
    steps: str = "short"

    def arrays(self) -> ScanArrays:
        """x, dt, A, B, C and D in float64, the same in every run."""
        rng = np.random.default_rng([self.batch, self.channels, self.length])
        tokens, reads = (self.batch, self.channels, self.length), (self.batch, self.states, self.length)
        if self.steps == "short":
            dt = np.exp(rng.uniform(np.log(0.001), np.log(0.1), tokens))
        else:
            dt = np.log1p(np.exp(rng.normal(-2, 1.5, tokens)))
        if self.steps == "stopped":
            dt[..., ::3] = 0
        rates = np.log(np.arange(1, self.states + 1)) + 0.2 * rng.standard_normal((self.channels, self.states))
        x, B, C = (rng.standard_normal(shape) for shape in (tokens, reads, reads))
        return x, dt, -np.exp(rates), B, C, rng.standard_normal(self.channels)
