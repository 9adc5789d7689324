"""The result of segmentation: a mask, from which every output is made."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from rsvl.runtime.images.georeference import Georeference
from rsvl.runtime.images.scene import Scene
from rsvl.runtime.presence import THRESHOLD, UNCALIBRATED
from rsvl.runtime.results import contours
from rsvl.runtime.results.base import Part, SpatialResult
from rsvl.runtime.results.contours import Polygon
from rsvl.runtime.results.objects import ONE, Judge, MaskObject, ObjectFilter, objects_dict, objects_of
from rsvl.runtime.results.oriented_box import OrientedBox, oriented_box


class MaskResult(SpatialResult):
    """What results of a mask share, whole or put together from blocks; a frozen dataclass with these as well.

    Attributes:
        threshold: the probability above which a pixel was taken into the mask.
        objects: the mask's connected components, the largest first.
        keep: which of them `parts` gives.
        judge: says how likely they are what the sentence names; None where the bundle was not calibrated.
        area: number of pixels in the mask.
        box: the whole mask's bounds (x1, y1, x2, y2), None when nothing was found.
        oriented_box: the minimum-area rectangle around the whole mask, None when nothing was found.
    """

    shapes: ClassVar[str] = "outlines"

    threshold: float
    objects: list[MaskObject]
    keep: ObjectFilter
    judge: Judge | None
    area: int
    box: tuple[int, int, int, int] | None
    oriented_box: OrientedBox | None

    @property
    def found(self) -> bool:
        """Whether any pixel belongs to the mask."""
        return self.box is not None

    @property
    def given(self) -> list[MaskObject]:
        """The objects that are given."""
        return self.keep.apply(self.objects, self.judge)

    @property
    def presence(self) -> float | None:
        """How likely what the sentence names is there, 0…1; None where the bundle was not calibrated."""
        return None if self.judge is None else self.judge.of_all(self._large)

    @property
    def status(self) -> str:
        """``found``, ``absent``, ``ambiguous`` (several, where the sentence means one), or ``uncalibrated``."""
        if self.judge is None:
            return UNCALIBRATED
        return self.judge.status(str(self.text), self._large, self.keep.min_presence or THRESHOLD)

    @property
    def _large(self) -> list[MaskObject]:
        """The objects that are no specks."""
        return [each for each in self.objects if each.area >= self.keep.min_area]

    def lines(self) -> list[str]:
        """See `SpatialResult.lines`; with the presence where it is known."""
        first, *rest = super().lines()
        return [first if self.presence is None else f"{first} ({self.status}, presence {self.presence:.2f})", *rest]

    @property
    def outlines(self) -> list[np.ndarray]:  # type: ignore[override]
        """The oriented box's corners."""
        return [] if self.oriented_box is None else [self.oriented_box.corners]

    @property
    def parts(self) -> list[Part]:  # type: ignore[override]
        """Each of the objects that are given."""
        tolerance = self.keep.tolerance
        return [Part(each.score, each.area, [each.polygon], each.peak, tolerance=tolerance) for each in self.given]

    def to_dict(self) -> dict[str, Any]:
        """Everything but the pixels, as JSON takes it."""
        return {
            "text": self.text,
            "found": self.found,
            "score": self.score,
            "threshold": self.threshold,
            "size": list(self.size[::-1]),
            "area": self.area,
            "box": list(self.box) if self.box else None,
            "oriented_box": list(self.oriented_box) if self.oriented_box else None,
            "boxes": [list(each.polygon.box) for each in self.objects],
            "presence": self.presence,
            "status": self.status,
            **objects_dict(self.objects, self.keep, self.judge),
            "crs": self.crs,
            "transform": list(self.transform) if self.transform else None,
        }


@dataclass(frozen=True, eq=False)
class Segmentation(MaskResult):
    """Where a sentence's object is in an image. All coordinates are pixel edges: the first pixel covers 0…1.

    Attributes:
        text: the sentence.
        mask: bool [H, W] at the image's own size; never true where the image has no data.
        score: mean probability inside the mask, 0…1; 0 if the mask is empty.
        threshold: the probability above which a pixel was taken into the mask.
        probability: float32 [H, W], 0…1; None for a tiled scene unless it was asked for.
        georeference: coordinate system and transform of the image, None when it has none.
        scene: the image, for overlays.
        inside: uint16 [P], probabilities of the mask's pixels in row-major order, in 1/65535; None where not known.
        keep: which of the objects `parts` gives.
        judge: says how likely they are what the sentence names; None where the bundle was not calibrated.
    """

    text: str
    mask: np.ndarray
    score: float
    threshold: float
    probability: np.ndarray | None = None
    georeference: Georeference | None = None
    scene: Scene | None = field(default=None, repr=False)
    inside: np.ndarray | None = field(default=None, repr=False)
    keep: ObjectFilter = field(default_factory=ObjectFilter)
    judge: Judge | None = None

    @property
    def size(self) -> tuple[int, int]:  # type: ignore[override]
        """The image's (height, width)."""
        return self.mask.shape[0], self.mask.shape[1]

    @cached_property
    def objects(self) -> list[MaskObject]:  # type: ignore[override]
        """The mask's connected components, each with its own score, the largest first; `keep` drops none here."""
        values = self.inside
        if values is None:
            values = np.full(self.area, round(self.score * ONE), np.uint16)
        return objects_of(self.mask, values)

    @cached_property
    def area(self) -> int:  # type: ignore[override]
        """Number of pixels in the mask."""
        return int(np.count_nonzero(self.mask))

    @cached_property
    def box(self) -> tuple[int, int, int, int] | None:  # type: ignore[override]
        """The whole mask's bounds (x1, y1, x2, y2), None when nothing was found."""
        return contours.bounds(self.mask)

    @cached_property
    def oriented_box(self) -> OrientedBox | None:  # type: ignore[override]
        """The minimum-area rectangle around the whole mask, None when nothing was found."""
        return oriented_box(self.mask)

    @cached_property
    def polygons(self) -> tuple[Polygon, ...]:
        """The outline of each connected component, with its holes, the largest first."""
        return tuple(each.polygon for each in self.objects)

    @property
    def polygon(self) -> np.ndarray | None:
        """The largest component's outline, int64 [K, 2] of (x, y), None when nothing was found."""
        return self.polygons[0].exterior if self.polygons else None

    @property
    def boxes(self) -> tuple[tuple[int, int, int, int], ...]:
        """Each connected component's bounds (x1, y1, x2, y2), in the order of `polygons`."""
        return tuple(polygon.box for polygon in self.polygons)

    def place(self) -> str:
        """The mask's area and bounds."""
        assert self.box is not None
        x1, y1, x2, y2 = self.box
        return f"{self.area} px in x {x1}–{x2}, y {y1}–{y2}"
