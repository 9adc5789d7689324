"""The result of visual question answering."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rsvl.runtime.images.notes import Reading
from rsvl.runtime.images.scene import Scene
from rsvl.runtime.images.tiling import Window
from rsvl.runtime.results.base import Result, shortened


@dataclass(frozen=True)
class Answer(Result):
    """A model's answer to a question.

    Attributes:
        question: what was asked.
        answer: the likeliest of the model's answers. There always is one: `probability` is the confidence.
        probability: its probability, 0…1.
        distribution: the probability of each answer that the model knows, the likeliest first.
        sensors: whose images it was given.
        warning: what makes the answer less trustworthy, such as a missing sensor or unknown words; else empty.
        readings: how the images were read.
        window: the pixels that were looked at, where they are a tile of a scene.
        scene: that scene.
    """

    question: str
    answer: str
    probability: float
    distribution: Mapping[str, float]
    sensors: tuple[str, ...]
    warning: str = ""
    readings: Sequence[Reading] = field(default=(), repr=False)
    window: Window | None = None
    scene: Scene | None = field(default=None, repr=False)

    @property
    def shares(self) -> Mapping[str, float]:
        """The same as of classifications: each answer's probability, the likeliest first."""
        return self.distribution

    def to_dict(self, most: int = 5) -> dict[str, Any]:
        """As JSON takes it, with the `most` likeliest answers."""
        place = {} if self.window is None else {"box": list(self.window.corners)}
        return place | {
            "question": self.question,
            "answer": self.answer,
            "probability": self.probability,
            "distribution": dict(list(self.distribution.items())[:most]),
            "sensors": list(self.sensors),
            "warning": self.warning,
        }

    def lines(self) -> list[str]:
        """The probability, the question and the answer; below, what makes it less trustworthy. Of a tile its place."""
        if self.window is not None:
            x1, y1, x2, y2 = self.window.corners
            return [f"x {x1}–{x2}, y {y1}–{y2}: {self.probability:.2f}  {shortened(self.question)} {self.answer}"]
        line = f"{self.probability:.2f}  {shortened(self.question)} {self.answer}"
        return [line, f"      {self.warning}"] if self.warning else [line]
