"""How much worse than another's a figure may be."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rsvl.runtime.errors import UsageError


@dataclass(frozen=True)
class Drop:
    """How much a figure may drop: by a share of the baseline's figure, or by so much whatever that is.

    Attributes:
        value: 0…1.
        relative: whether it is a share of the baseline's figure.
    """

    value: float
    relative: bool = True

    @classmethod
    def parse(cls, text: str, option: str) -> Drop:
        """Reads ``1%`` (of the baseline's figure) or ``0.5`` (points: hundredths of the figure itself).

        Raises:
            UsageError: neither, or not within 0 to 100.
        """
        number = text.strip().removesuffix("%")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not 0 <= value <= 100:
            raise UsageError(f"{option} is 1% of the baseline's figure or 0.5 points, between 0 and 100, not {text!r}")
        return cls(value / 100, text.strip().endswith("%"))

    def of(self, figure: float) -> float:
        """The largest drop allowed of a baseline's figure."""
        return self.value * figure if self.relative else self.value

    def __str__(self) -> str:
        return f"{100 * self.value:g}{' %' if self.relative else ' points'}"
