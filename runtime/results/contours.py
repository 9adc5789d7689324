"""Outlines of a mask along the edges of its pixels: exact polygons with holes, one for each connected component.

Pixels that touch only at a corner are not connected (4-connectivity), as in `rasterio.features.shapes`. Every pixel
edge between inside and outside becomes a directed unit edge with the inside on its right hand (y pointing down);
following them gives closed loops: clockwise on the screen around a component, counter-clockwise around a hole.
Coordinates are pixel edges: the upper left pixel covers x 0…1, y 0…1.
"""

from __future__ import annotations

from collections.abc import Sequence
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
        area: number of pixels inside.
    """

    exterior: np.ndarray
    holes: tuple[np.ndarray, ...]
    area: int

    @property
    def first_pixel(self) -> tuple[int, int]:
        """The row and column of its first pixel in row-major order."""
        x, y = self.exterior[np.lexsort((self.exterior[:, 0], self.exterior[:, 1]))[0]]
        return int(y), int(x)

    def moved(self, x: int, y: int) -> Polygon:
        """The same with all coordinates moved."""
        by = np.array([x, y])
        return Polygon(self.exterior + by, tuple(hole + by for hole in self.holes), self.area)

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
        One polygon per component; empty for an empty mask.
    """
    box = bounds(mask)
    if box is None:
        return ()
    x1, y1, x2, y2 = box
    return _polygons_of(_Edges(_keys_of(mask[y1:y2, x1:x2]), x2 - x1 + 1, origin=(x1, y1)))


def joined(pieces: Sequence[Polygon]) -> Polygon:
    """The polygon of one component from polygons of its pieces, which share edges and no pixels.

    Every edge that two pieces share runs one way around the one and the other way around the other: both go.
    """
    if len(pieces) == 1:
        return pieces[0]
    rings = [ring for piece in pieces for ring in (piece.exterior, *piece.holes)]
    corners = np.concatenate(rings)
    (x1, y1), x2 = corners.min(axis=0), corners[:, 0].max()
    width = int(x2 - x1) + 1
    keys = np.concatenate([_keys_along(ring - (x1, y1), width) for ring in rings])
    corner, direction = np.divmod(keys, 4)
    opposite = (corner + _steps(width)[direction]) * 4 + (direction + 2) % 4
    keys = np.sort(keys[~np.isin(keys, opposite)])
    return _polygons_of(_Edges(keys, width, origin=(int(x1), int(y1))))[0]


def _polygons_of(edges: _Edges) -> tuple[Polygon, ...]:
    exteriors: dict[int, np.ndarray] = {}
    holes: dict[int, list[np.ndarray]] = {}
    areas: dict[int, int] = {}
    owner: list[int] = []  # of each loop: the exterior loop of its component
    for loop in range(len(edges.areas)):  # in the order of their highest rows: a hole's owner comes before it
        exterior, inner = _parted(edges.rings(loop))
        owner.append(owner[edges.loop_left_of_top(loop)] if exterior is None else loop)
        if exterior is not None:
            exteriors[loop] = exterior
        holes.setdefault(owner[loop], []).extend(inner)
        areas[owner[loop]] = areas.get(owner[loop], 0) + int(edges.areas[loop])
    found = [Polygon(exteriors[loop], tuple(holes[loop]), areas[loop]) for loop in exteriors]
    return tuple(sorted(found, key=lambda polygon: -polygon.area))


def bounds(mask: np.ndarray) -> tuple[int, int, int, int] | None:
    """Axis-aligned bounds (x1, y1, x2, y2) of a mask's pixels in pixel edges (x2 and y2 exclusive), None if empty."""
    rows = np.flatnonzero(mask.any(axis=1))
    if rows.size == 0:
        return None
    columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _keys_of(mask: np.ndarray) -> np.ndarray:
    """The boundary edges of a mask, as `_Edges` takes them."""
    width = mask.shape[1] + 1
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
        parts.append(((row + down) * width + column + right) * 4 + direction)
    return np.sort(np.concatenate(parts))


def _keys_along(ring: np.ndarray, width: int) -> np.ndarray:
    """The edges of a closed ring of corners [K, 2], of length 1 each, in order."""
    sides = np.roll(ring, -1, axis=0) - ring
    lengths = np.abs(sides).sum(axis=1)
    direction = np.select([sides[:, 0] > 0, sides[:, 1] > 0, sides[:, 0] < 0], [_RIGHT, _DOWN, _LEFT], _UP)
    along = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    starts, direction = np.repeat(ring[:, 1] * width + ring[:, 0], lengths), np.repeat(direction, lengths)
    return (starts + along * _steps(width)[direction]) * 4 + direction


def _steps(width: int) -> np.ndarray:
    """From a corner of a lattice to the next, by direction."""
    return np.array([1, width, -1, -width])


class _Edges:
    """The directed boundary edges of a mask and the closed loops that they form."""

    def __init__(self, keys: np.ndarray, width: int, origin: tuple[int, int]) -> None:
        """Follows edges.

        Args:
            keys: int64 [E], corner · 4 + direction of each edge's start: unique and sorted, so by row of the start.
            width: of the lattice of pixel corners.
            origin: the lattice's first corner (x, y).
        """
        self._width, self._keys = width, keys
        self._next = self._follow()
        order, starts = self._trace()
        self._tops = order[starts]  # each loop's first edge in row order
        self._loop_of = np.empty(order.size, np.int64)
        self._loop_of[order] = np.repeat(np.arange(starts.size), np.diff(starts, append=order.size))
        self.areas = self._measure()
        self._touching = self._find_touching()
        self._corners = self._split_at_corners(order, origin)

    def _follow(self) -> np.ndarray:
        corner, direction = np.divmod(self._keys, 4)
        end = corner + _steps(self._width)[direction]
        following = np.full(self._keys.size, -1, np.int64)
        for turn in (3, 0, 1):  # a right turn, tried last, wins: pixels that touch at a corner stay apart
            key = end * 4 + (direction + turn) % 4
            place = np.minimum(np.searchsorted(self._keys, key), self._keys.size - 1)
            following = np.where(self._keys[place] == key, place, following)
        return following

    def _trace(self) -> tuple[np.ndarray, np.ndarray]:
        """All edges, loop after loop, each from its first edge in row order, and where in it each loop starts."""
        following = self._next.tolist()
        seen = bytearray(len(following))
        order: list[int] = []
        starts: list[int] = []
        for first in range(len(following)):
            if seen[first]:
                continue
            starts.append(len(order))
            edge = first
            while not seen[edge]:
                seen[edge] = 1
                order.append(edge)
                edge = following[edge]
        return np.array(order), np.array(starts)

    def _measure(self) -> np.ndarray:
        """Each loop's signed area: ∮ x dy, positive clockwise on the screen."""
        corner, direction = np.divmod(self._keys, 4)
        dy = np.array([0, 1, 0, -1])[direction]
        return np.bincount(self._loop_of, corner % self._width * dy).astype(np.int64)

    def _find_touching(self) -> set[int]:
        """The loops that pass a corner twice."""
        corner, loop = self._keys // 4, self._loop_of
        twice = (corner[1:] == corner[:-1]) & (loop[1:] == loop[:-1])
        return set(loop[1:][twice].tolist())

    def _split_at_corners(self, order: np.ndarray, origin: tuple[int, int]) -> list[np.ndarray]:
        """Each loop's corners (x, y), where the direction changes, [K, 2]."""
        direction = self._keys % 4
        is_corner = np.empty(order.size, bool)
        is_corner[self._next] = direction != direction[self._next]
        kept = order[is_corner[order]]
        row, column = np.divmod(self._keys[kept] // 4, self._width)
        counts = np.bincount(self._loop_of[kept], minlength=self.areas.size)
        return np.split(np.stack([column, row], axis=1) + np.array(origin), np.cumsum(counts)[:-1])

    def rings(self, loop: int) -> list[np.ndarray]:
        """The loop's corners, cut into rings that do not touch themselves."""
        corners = self._corners[loop]
        return _simple_rings(corners) if loop in self._touching else [corners]

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


def _parted(rings: list[np.ndarray]) -> tuple[np.ndarray | None, list[np.ndarray]]:
    """The one ring among a loop's that goes round a component, if there is one, and the holes."""
    exterior = None
    holes = []
    for ring in rings:
        if _area(ring) > 0:
            exterior = ring
        else:
            holes.append(ring)
    return exterior, holes


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
    """The signed area, ∮ x dy: positive when clockwise on the screen (y down)."""
    x, y = corners[:, 0], corners[:, 1]
    return int(x[:-1] @ (y[1:] - y[:-1]) + x[-1] * (y[0] - y[-1]))
