"""The result of segmentation for a scene that was done block by block: objects, without the mask as an array."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from rsvl.runtime.images.georeference import Georeference
from rsvl.runtime.images.scene import Scene
from rsvl.runtime.results.base import thinned
from rsvl.runtime.results.objects import Judge, MaskObject, ObjectFilter
from rsvl.runtime.results.oriented_box import OrientedBox
from rsvl.runtime.results.segmentation import MaskResult


@dataclass(frozen=True, eq=False)
class SceneMask(MaskResult):
    """Where a sentence's objects are in a scene. All coordinates are pixel edges: the first pixel covers 0…1.

    Attributes:
        text: the sentence.
        objects: the mask's connected components, the largest first.
        keep: which of them `parts` gives.
        thumbnail_mask: the mask, thinned out, bool [h, w].
        area: number of pixels in the mask.
        score: mean probability inside the mask, 0…1; 0 if it is empty.
        threshold: the probability above which a pixel was taken into the mask.
        size: the scene's (height, width).
        box: the whole mask's bounds (x1, y1, x2, y2), None when nothing was found.
        oriented_box: the minimum-area rectangle around the whole mask.
        georeference: coordinate system and transform of the scene, None when it has none.
        scene: the scene, for overlays.
        judge: says how likely objects are what the sentence names; None where the bundle was not calibrated.
    """

    text: str
    objects: list[MaskObject] = field(repr=False)
    keep: ObjectFilter
    thumbnail_mask: np.ndarray = field(repr=False)
    area: int
    score: float
    threshold: float
    size: tuple[int, int]
    box: tuple[int, int, int, int] | None
    oriented_box: OrientedBox | None
    georeference: Georeference | None = None
    scene: Scene | None = field(default=None, repr=False)
    judge: Judge | None = None

    @property
    def mask(self) -> None:  # type: ignore[override]
        """None: the mask is in the file that was written."""

    def thinned_mask(self, height: int, width: int) -> np.ndarray:
        """See `SpatialResult.thinned_mask`."""
        return thinned(self.thumbnail_mask, height, width)

    def place(self) -> str:
        """The mask's area and bounds, and the number of objects."""
        assert self.box is not None
        x1, y1, x2, y2 = self.box
        given = len(self.given)
        dropped = f" ({len(self.objects) - given} dropped)" if given < len(self.objects) else ""
        return f"{self.area} px in {given} objects{dropped}, x {x1}–{x2}, y {y1}–{y2}"
