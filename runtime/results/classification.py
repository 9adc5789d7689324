"""The result of classification, by labels that were asked for or by a model's own classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from rsvl.runtime.images.notes import Reading
from rsvl.runtime.images.scene import Scene
from rsvl.runtime.images.tiling import Window
from rsvl.runtime.results.base import Result, shortened


@dataclass(frozen=True)
class Classification(Result):
    """Which of the labels an image, or a tile of it, fits.

    Attributes:
        probabilities: each label's probability, 0…1, the likeliest first; they sum to 1.
        readings: how the image was read.
        limit: the most labels that `to_dict` and `lines` show, the likeliest; None for all.
        window: the pixels that were looked at, where they are a tile of a scene.
        scene: that scene.
    """

    probabilities: Mapping[str, float]
    readings: Sequence[Reading] = field(default=(), repr=False)
    limit: int | None = None
    window: Window | None = None
    scene: Scene | None = field(default=None, repr=False)

    @property
    def label(self) -> str:
        """The likeliest label."""
        return next(iter(self.probabilities))

    @property
    def probability(self) -> float:
        """The likeliest label's probability."""
        return self.probabilities[self.label]

    @property
    def shares(self) -> Mapping[str, float]:
        """The same as of answers: each label's probability, the likeliest first."""
        return self.probabilities

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it; a tile with its place in pixels, [x1, y1, x2, y2]."""
        found = {"label": self.label, "probability": self.probability, "probabilities": dict(self._shown())}
        return found if self.window is None else {"box": list(self.window.corners), **found}

    def lines(self) -> list[str]:
        """Each label with its probability, the likeliest first; of a tile its place and all of them on one line."""
        shown = [f"{probability:.2f}  {shortened(label)}" for label, probability in self._shown()]
        if self.window is None:
            return shown
        x1, y1, x2, y2 = self.window.corners
        return [f"x {x1}–{x2}, y {y1}–{y2}: {', '.join(shown)}"]

    def _shown(self) -> list[tuple[str, float]]:
        return list(islice(self.probabilities.items(), self.limit))
