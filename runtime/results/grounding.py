"""The result of grounding: the boxes of what a sentence names, in the image's own pixels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rsvl.runtime.images.georeference import Georeference
from rsvl.runtime.images.scene import Scene
from rsvl.runtime.results.base import Part, SpatialResult
from rsvl.runtime.results.contours import Polygon


@dataclass(frozen=True, eq=False)
class Grounding(SpatialResult):
    """Where a sentence's object is in an image. All coordinates are pixel edges: the first pixel covers 0…1.

    Attributes:
        text: the sentence.
        boxes: float64 [K, 4], (x1, y1, x2, y2) in pixels of the image, the best first.
        scores: float64 [K]: probabilities 0…1, or cosine similarities from `Grounder.match`.
        size: the image's (height, width).
        threshold: the score that a box had to exceed.
        georeference: coordinate system and transform of the image, None when it has none.
        scene: the image, for overlays.
        left_out: how many more boxes there are that exceed the threshold, but not among the `limit` best.
    """

    text: str
    boxes: np.ndarray
    scores: np.ndarray
    size: tuple[int, int]
    threshold: float
    georeference: Georeference | None = None
    scene: Scene | None = field(default=None, repr=False)
    left_out: int = 0

    @property
    def mask(self) -> None:  # type: ignore[override]
        """None: boxes have no mask."""

    @property
    def score(self) -> float:  # type: ignore[override]
        """The best box's score; 0 when nothing was found."""
        return float(self.scores[0]) if len(self.scores) else 0.0

    @property
    def box(self) -> tuple[float, float, float, float] | None:
        """The best box (x1, y1, x2, y2), None when nothing was found."""
        if not len(self.boxes):
            return None
        x1, y1, x2, y2 = self.boxes[0].tolist()
        return x1, y1, x2, y2

    @property
    def outlines(self) -> list[np.ndarray]:  # type: ignore[override]
        """Each box's corners, clockwise on the screen."""
        return [box[[0, 1, 2, 1, 2, 3, 0, 3]].reshape(4, 2) for box in self.boxes]

    @property
    def parts(self) -> list[Part]:  # type: ignore[override]
        """Each box on its own."""
        return [
            Part(float(score), area, [Polygon(corners, (), round(area))])
            for score, corners in zip(self.scores, self.outlines, strict=True)
            for area in [float((corners[2] - corners[0]).prod())]
        ]

    def place(self) -> str:
        """The best box, how many more there are and how many a limit left out."""
        x1, y1, x2, y2 = self.boxes[0]
        more = f", and {len(self.boxes) - 1} more" if len(self.boxes) > 1 else ""
        left_out = f" ({self.left_out} left out by the limit)" if self.left_out else ""
        return f"x {x1:.0f}–{x2:.0f}, y {y1:.0f}–{y2:.0f}{more}{left_out}"

    def to_dict(self) -> dict[str, Any]:
        """Everything but the pixels, as JSON takes it."""
        return {
            "text": self.text,
            "found": self.found,
            "score": self.score,
            "threshold": self.threshold,
            "size": list(self.size[::-1]),
            "box": list(self.box) if self.box else None,
            "boxes": self.boxes.tolist(),
            "scores": self.scores.tolist(),
            "left_out": self.left_out,
            "crs": self.crs,
            "transform": list(self.transform) if self.transform else None,
        }
