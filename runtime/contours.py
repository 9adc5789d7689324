"""Outlines of a mask along the edges of its pixels: exact polygons with holes, one for each connected component.

Pixels that touch only at a corner are not connected (4-connectivity), as in `rasterio.features.shapes`. Every pixel
edge between inside and outside becomes a directed unit edge with the inside on its right hand (y pointing down);
following them gives closed loops: clockwise on the screen around a component, counter-clockwise around a hole.
Coordinates are pixel edges: the upper left pixel covers x 0…1, y 0…1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

# Directions in clockwise order on the screen, so that +1 is a right turn.
_RIGHT, _DOWN, _LEFT, _UP = range(4)


@dataclass(frozen=True, eq=False)
class Polygon:
    """A connected component's outline.

    Attributes:
        exterior: int64 [K, 2], its corners (x, y), clockwise on the screen, the first not repeated.
        holes: the same for each hole, counter-clockwise.
    """

    exterior: np.ndarray
    holes: tuple[np.ndarray, ...] = ()

    @cached_property
    def area(self) -> int:
        """Number of pixels inside."""
        return _area(self.exterior) + sum(_area(hole) for hole in self.holes)

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Axis-aligned bounds (x1, y1, x2, y2) in pixel edges."""
        (x1, y1), (x2, y2) = self.exterior.min(axis=0), self.exterior.max(axis=0)
        return int(x1), int(y1), int(x2), int(y2)


def polygons(mask: np.ndarray) -> tuple[Polygon, ...]:
    """Outlines a mask's connected components, the largest first.

    Args:
        mask: bool [H, W].

    Returns:
        One polygon a component; empty for an empty mask.
    """
    box = bounds(mask)
    if box is None:
        return ()
    x1, y1, x2, y2 = box
    edges = _Edges(mask[y1:y2, x1:x2])
    exteriors: dict[int, np.ndarray] = {}
    holes: dict[int, list[np.ndarray]] = {}
    owner: dict[int, int] = {}  # loop → the exterior loop of its component
    for loop, corners in enumerate(edges.loops):  # sorted by their highest row: a hole's owner comes before it
        rings = [ring + np.array([x1, y1]) for ring in _simple_rings(corners)]
        outer = [ring for ring in rings if _area(ring) > 0]  # at most one: the component's exterior
        owner[loop] = loop if outer else owner[edges.loop_left_of_top(loop)]
        exteriors.update((loop, ring) for ring in outer)
        holes.setdefault(owner[loop], []).extend(ring for ring in rings if _area(ring) < 0)
    found = (Polygon(exteriors[loop], tuple(holes[loop])) for loop in exteriors)
    return tuple(sorted(found, key=lambda polygon: -polygon.area))


def bounds(mask: np.ndarray) -> tuple[int, int, int, int] | None:
    """Axis-aligned bounds (x1, y1, x2, y2) of a mask's pixels in pixel edges (x2 and y2 exclusive), None if empty."""
    rows = np.flatnonzero(mask.any(axis=1))
    if rows.size == 0:
        return None
    columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


class _Edges:
    """The directed boundary edges of a mask and the closed loops that they form."""

    def __init__(self, mask: np.ndarray) -> None:
        self._width = mask.shape[1] + 1  # of the lattice of pixel corners
        padded = np.pad(mask, 1)
        parts = []
        # For each direction, the neighbours across that side of a pixel and the pixel's corner where the edge starts.
        for direction, (across, (down, right)) in {
            _RIGHT: (padded[:-2, 1:-1], (0, 0)),
            _DOWN: (padded[1:-1, 2:], (0, 1)),
            _LEFT: (padded[2:, 1:-1], (1, 1)),
            _UP: (padded[1:-1, :-2], (1, 0)),
        }.items():
            row, column = np.nonzero(mask & ~across)
            parts.append(((row + down) * self._width + column + right) * 4 + direction)
        self._keys = np.sort(np.concatenate(parts))  # corner · 4 + direction: unique, sorted by row of the start
        self._next = self._follow()
        self._loop_of = np.full(self._keys.size, -1, np.int64)
        self._tops: list[int] = []
        self.loops = self._trace()

    def _follow(self) -> np.ndarray:
        corner, direction = np.divmod(self._keys, 4)
        step = np.array([1, self._width, -1, -self._width])
        end = corner + step[direction]
        following = np.full(self._keys.size, -1, np.int64)
        for turn in (3, 0, 1):  # a right turn, tried last, wins: pixels that touch at a corner stay apart
            key = end * 4 + (direction + turn) % 4
            place = np.minimum(np.searchsorted(self._keys, key), self._keys.size - 1)
            following = np.where(self._keys[place] == key, place, following)
        return following

    def _trace(self) -> list[np.ndarray]:
        """Follows every loop from its first edge in row order; corners are where the direction changes."""
        direction = self._keys % 4
        is_corner = np.empty(self._keys.size, bool)
        is_corner[self._next] = direction != direction[self._next]
        following, loop_of = self._next.tolist(), self._loop_of
        loops: list[np.ndarray] = []
        for first in range(len(following)):
            if loop_of[first] >= 0:
                continue
            members, edge = [first], following[first]
            while edge != first:
                members.append(edge)
                edge = following[edge]
            path = np.array(members)
            loop_of[path] = len(loops)
            self._tops.append(first)
            row, column = np.divmod(self._keys[path[is_corner[path]]] // 4, self._width)
            loops.append(np.stack([column, row], axis=1))
        return loops

    def loop_left_of_top(self, hole: int) -> int:
        """The loop that bounds, on the left, the run of inside pixels just above a hole's highest edge.

        It belongs to the same component as the hole and reaches higher than the hole's own top row.
        """
        # A hole's first edge in row order starts at its upper left corner, so the pixel above and right of that corner
        # is inside. A left side's edge points up from the corner below it: one row lower, which is that corner's row.
        corner = self._keys[self._tops[hole]] // 4
        sides, starts = self._left_sides
        return int(self._loop_of[sides[np.searchsorted(starts, corner, side="right") - 1]])

    @cached_property
    def _left_sides(self) -> tuple[np.ndarray, np.ndarray]:
        sides = np.flatnonzero(self._keys % 4 == _UP)
        return sides, self._keys[sides] // 4


def _simple_rings(corners: np.ndarray) -> list[np.ndarray]:
    """Cuts a loop at the corners that it passes twice, where pixels touch diagonally: no ring then touches itself.

    So a hole that meets the outside at a corner becomes a hole, and two holes that meet at a corner become two.
    """
    rings: list[np.ndarray] = []
    path: list[tuple[int, int]] = []
    place: dict[tuple[int, int], int] = {}  # corner → its position in the path
    for corner in map(tuple, corners.tolist()):
        if corner in place:
            start = place[corner]
            rings.append(np.array(path[start:]))
            for passed in path[start + 1 :]:
                del place[passed]
            del path[start + 1 :]
        else:
            place[corner] = len(path)
            path.append(corner)
    return [*rings, np.array(path)]


def _area(corners: np.ndarray) -> int:
    """The shoelace area: positive when clockwise on the screen (y down)."""
    x, y = corners[:, 0], corners[:, 1]
    return int((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) // 2
