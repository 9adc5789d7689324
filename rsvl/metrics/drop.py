"""How much worse than a baseline's a metric may be."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rsvl.runtime.errors import UsageError


@dataclass(frozen=True)
class Drop:
    """How much a metric may drop: relative to the baseline's, or in absolute terms.

    Attributes:
        value: 0…1.
        relative: whether `value` is a fraction of the baseline's metric.
    """

    value: float
    relative: bool = True

    @classmethod
    def parse(cls, text: str, option: str) -> Drop:
        """Reads ``1%`` (of the baseline's metric) or ``0.5`` (points: hundredths of the metric itself).

        Raises:
            UsageError: neither, or not within 0 to 100.
        """
        number = text.strip().removesuffix("%")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not 0 <= value <= 100:
            raise UsageError(f"{option} is 1% of the baseline's metric or 0.5 points, between 0 and 100, not {text!r}")
        return cls(value / 100, text.strip().endswith("%"))

    def of(self, baseline: float) -> float:
        """The largest drop allowed from a baseline's metric."""
        return self.value * baseline if self.relative else self.value

    def __str__(self) -> str:
        return f"{100 * self.value:g}{' %' if self.relative else ' points'}"
