"""The objects of a mask: its connected components, each with its score, whole even where the mask comes in pieces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rsvl.runtime.errors import InputError
from rsvl.runtime.images.tiling import Window
from rsvl.runtime.presence import ABSENT, AMBIGUOUS, FOUND, Presence, means_one
from rsvl.runtime.results.components import Components, components, connected
from rsvl.runtime.results.contours import Polygon, joined, polygons
from rsvl.runtime.results.oriented_box import OrientedBox, box_around, convex_hull

if TYPE_CHECKING:
    from rsvl.runtime.images.scene import Scene

#: What stands for a probability of 1 where probabilities are whole numbers.
ONE = 65535


@dataclass(frozen=True, eq=False)
class MaskObject:
    """One connected component of a mask.

    Attributes:
        polygon: its outline, in pixels of the image.
        score: mean probability inside, 0…1.
        peak: largest probability inside, 0…1.
    """

    polygon: Polygon
    score: float
    peak: float

    @property
    def area(self) -> int:
        """Number of pixels."""
        return self.polygon.area

    @cached_property
    def oriented_box(self) -> OrientedBox:
        """The minimum-area rectangle around it."""
        box = box_around(self.polygon.exterior)
        assert box is not None
        return box


class Judge(NamedTuple):
    """Says how likely an object is what the sentence names.

    Attributes:
        presence: the bundle's.
        cell: pixels that one value of the model's own mask stands for.
    """

    presence: Presence
    cell: float

    def of(self, found: MaskObject) -> float:
        """How likely an object is there, 0…1."""
        return self.presence.probability(found.score, found.peak, found.area / self.cell)

    def of_all(self, objects: Sequence[MaskObject]) -> float:
        """How likely what a sentence names is there, by its strongest object."""
        if not objects:
            return self.presence.empty
        return self.of(max(objects, key=lambda each: each.score * each.area))

    def status(self, text: str, objects: Sequence[MaskObject], threshold: float) -> str:
        """``found``, ``absent``, or ``ambiguous``: several are there, and the sentence means one."""
        if self.of_all(objects) < threshold or not objects:
            return ABSENT
        several = sum(self.of(each) >= threshold for each in objects) > 1
        return AMBIGUOUS if several and means_one(text) else FOUND


@dataclass(frozen=True)
class ObjectFilter:
    """Which of a mask's objects are given.

    Attributes:
        min_score: least mean probability, 0…1.
        min_area: least number of pixels.
        limit: the most of them, those of the best scores; None for all.
        min_presence: least probability that it is what the sentence names, 0…1, where the bundle can tell.
        tolerance: how far their outlines may stray from the pixels' edges to have fewer corners, in pixels.
    """

    min_score: float = 0.0
    min_area: float = 0.0
    limit: int | None = None
    tolerance: float = 0.0
    min_presence: float = 0.0

    def apply(self, objects: list[MaskObject], judge: Judge | None = None) -> list[MaskObject]:
        """Those that are given, in their order."""
        kept = [each for each in objects if each.score >= self.min_score and each.area >= self.min_area]
        if judge is not None and self.min_presence:
            kept = [each for each in kept if judge.of(each) >= self.min_presence]
        if self.limit is None or len(kept) <= self.limit:
            return kept
        best = np.argsort([-each.score for each in kept], kind="stable")[: self.limit]
        return [kept[i] for i in sorted(best)]


def in_pixels(value: str, scene: Scene, option: str, power: int) -> float:
    """A length or area in pixels of a scene.

    Args:
        value: metres (or square metres), or as in ``20px`` pixels.
        scene: the scene.
        option: what gave it, for the message.
        power: 1 for a length, 2 for an area.

    Raises:
        InputError: metres, of a scene whose resolution is not known.
    """
    if value.endswith("px"):
        return float(value.removesuffix("px"))
    place = scene.georeference
    side = None if place is None else place.resolution(scene.height, scene.width)
    if side is None:
        raise InputError(f"the image's resolution is not known: give {option} in pixels, as in {value}px")
    return float(value) / side**power


class ObjectCollector:
    """Finds the objects of a mask that comes window by window, row by row of windows.

    Memory grows with the objects' outlines and a row of the mask, not with the mask.

    Attributes:
        area: number of pixels in the mask so far.
    """

    def __init__(self, height: int, width: int) -> None:
        """Begins with an empty mask of a size in pixels."""
        self._height, self._width = height, width
        self._whole: list[MaskObject] = []
        self._pieces: list[tuple[Polygon, int, int]] = []  # outline, sum and maximum of what touches a window's edge
        self._edges: list[np.ndarray] = []  # pairs of pieces that touch each other
        self._above = np.full(width, -1, np.int64)  # the pieces along the lower edge of the windows above
        self._left = np.zeros(0, np.int64)  # along the right edge of the window to the left
        self._hull = np.zeros((0, 2))
        self._sum, self.area = 0, 0

    def add(self, window: Window, mask: np.ndarray, values: np.ndarray) -> None:
        """Adds a window; all above it and to its left were added before.

        Args:
            window: where it lies.
            mask: bool [h, w].
            values: unsigned integers [P], probabilities in 1/65535 of the mask's pixels in row-major order.
        """
        if not mask.any():
            self._join(window, {})
            return
        found = components(mask)
        sizes, sums, largest = found.totals(values)
        self.area, self._sum = self.area + int(sizes.sum()), self._sum + int(sums.sum())
        sides = self._sides(window, found)
        piece = np.full(found.count + 1, -1, np.int64)  # numbers among the pieces; the last is of what is no component
        touching = (
            np.unique(np.concatenate([side[side >= 0] for side in sides.values()])) if sides else np.zeros(0, np.int64)
        )
        piece[touching] = np.arange(len(self._pieces), len(self._pieces) + touching.size)
        outlines: dict[int, Polygon] = {}
        for polygon in polygons(mask):
            row, column = polygon.first_pixel
            outlines[int(found.at(np.array([row]), np.array([column]))[0])] = polygon.moved(window.column, window.row)
        for component in range(found.count):
            about = outlines[component], int(sums[component]), int(largest[component])
            if piece[component] >= 0:
                self._pieces.append(about)
            else:
                self._whole.append(_object(*about))
        self._join(window, {name: piece[side] for name, side in sides.items()})
        if outlines:
            corners = np.concatenate([polygon.exterior for polygon in outlines.values()])
            self._hull = convex_hull(np.concatenate([self._hull, _extremes(corners)]))

    def _sides(self, window: Window, found: Components) -> dict[str, np.ndarray]:
        """The components along those edges of a window that lie inside of the mask."""
        height, width = window.height, window.width
        sides = {}
        if window.row > 0:
            sides["top"] = found.along_row(0, width)
        if window.row + height < self._height:
            sides["bottom"] = found.along_row(height - 1, width)
        if window.column > 0:
            sides["left"] = found.along_column(0, height)
        if window.column + width < self._width:
            sides["right"] = found.along_column(width - 1, height)
        return sides

    def _join(self, window: Window, sides: dict[str, np.ndarray]) -> None:
        """Notes which pieces continue those of the windows above and to the left; none of a window without a mask."""
        columns = slice(window.column, window.column + window.width)
        for name, before in (("top", self._above[columns]), ("left", self._left)):
            if name in sides:
                both = (sides[name] >= 0) & (before >= 0)
                self._edges.append(np.unique(np.stack([before[both], sides[name][both]], axis=1), axis=0))
        self._above[columns] = sides.get("bottom", -1)
        self._left = sides.get("right", np.full(window.height, -1, np.int64))

    def finish(self) -> list[MaskObject]:
        """All objects, the largest first, those of one size in the order of their first pixels."""
        pairs = np.concatenate([np.zeros((0, 2), np.int64), *self._edges])
        roots = connected(len(self._pieces), pairs[:, 0], pairs[:, 1])
        objects = list(self._whole)
        order = np.argsort(roots, kind="stable")
        for group in np.split(order, np.flatnonzero(np.diff(roots[order])) + 1) if order.size else []:
            outlines, sums, largest = zip(*(self._pieces[i] for i in group), strict=True)
            objects.append(_object(joined(outlines), sum(sums), max(largest)))
        return sorted(objects, key=lambda each: (-each.area, each.polygon.first_pixel))

    @property
    def score(self) -> float:
        """Mean probability inside the mask, 0…1; 0 while it is empty."""
        return self._sum / self.area / ONE if self.area else 0.0

    @property
    def oriented_box(self) -> OrientedBox | None:
        """The minimum-area rectangle around the whole mask."""
        return box_around(self._hull)

    @property
    def box(self) -> tuple[int, int, int, int] | None:
        """The whole mask's bounds (x1, y1, x2, y2)."""
        if not len(self._hull):
            return None
        (x1, y1), (x2, y2) = self._hull.min(axis=0), self._hull.max(axis=0)
        return int(x1), int(y1), int(x2), int(y2)


def objects_of(mask: np.ndarray, values: np.ndarray) -> list[MaskObject]:
    """The objects of a whole mask; see `ObjectCollector`."""
    collector = ObjectCollector(*mask.shape)
    collector.add(Window(0, 0, *mask.shape), mask, values)
    return collector.finish()


def _object(polygon: Polygon, total: int, largest: int) -> MaskObject:
    return MaskObject(polygon, total / polygon.area / ONE, largest / ONE)


def _extremes(corners: np.ndarray) -> np.ndarray:
    """Of corners those that a hull can need: the first and the last of each row."""
    order = np.lexsort((corners[:, 0], corners[:, 1]))
    corners = corners[order]
    first = np.flatnonzero(np.diff(corners[:, 1], prepend=corners[0, 1] - 1))
    last = np.append(first[1:] - 1, len(corners) - 1)
    return corners[np.concatenate([first, last])]


def objects_dict(objects: list[MaskObject], keep: ObjectFilter, judge: Judge | None) -> dict[str, Any]:
    """The objects that are given, as JSON takes them, and how many are not."""
    kept = keep.apply(objects, judge)
    return {
        "objects": [
            {
                "score": each.score,
                "peak": each.peak,
                **({} if judge is None else {"presence": judge.of(each)}),
                "area": each.area,
                "box": list(each.polygon.box),
                "oriented_box": list(each.oriented_box),
            }
            for each in kept
        ],
        "dropped": len(objects) - len(kept),
    }
