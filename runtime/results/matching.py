"""The results of matching: a classification, and an image that was retrieved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rsvl.runtime.images.notes import Reading
from rsvl.runtime.results.base import Result, shortened


@dataclass(frozen=True)
class Classification(Result):
    """Which of the labels an image fits.

    Attributes:
        probabilities: each label's probability, 0…1, the likeliest first; they sum to 1.
        readings: how the image was read.
    """

    probabilities: Mapping[str, float]
    readings: Sequence[Reading] = field(default=(), repr=False)

    @property
    def label(self) -> str:
        """The likeliest label."""
        return next(iter(self.probabilities))

    @property
    def probability(self) -> float:
        """The likeliest label's probability."""
        return self.probabilities[self.label]

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {"label": self.label, "probability": self.probability, "probabilities": dict(self.probabilities)}

    def lines(self) -> list[str]:
        """Each label with its probability, the likeliest first."""
        return [f"{probability:.2f}  {shortened(label)}" for label, probability in self.probabilities.items()]


@dataclass(frozen=True)
class Match:
    """An image that was retrieved: its place in what was given, and its similarity to the text (a scaled logit)."""

    index: int
    similarity: float
