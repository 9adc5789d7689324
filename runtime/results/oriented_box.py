"""The minimum-area rectangle around a mask, at any angle."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rsvl.runtime.results.contours import bounds


class OrientedBox(NamedTuple):
    """A rotated rectangle in pixel edges (the upper left pixel covers x 0…1, y 0…1).

    Attributes:
        cx: centre, x.
        cy: centre, y.
        width: the longer side.
        height: the shorter side.
        angle: direction of the longer side in degrees, clockwise on the screen from the x axis, in [-90, 90).
    """

    cx: float
    cy: float
    width: float
    height: float
    angle: float

    @property
    def corners(self) -> np.ndarray:
        """The four corners (x, y), float64 [4, 2], clockwise on the screen."""
        radians = np.deg2rad(self.angle)
        along = np.array([np.cos(radians), np.sin(radians)])
        across = np.array([-along[1], along[0]])
        half = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) / 2
        return half @ np.stack([along * self.width, across * self.height]) + (self.cx, self.cy)


def oriented_box(mask: np.ndarray) -> OrientedBox | None:
    """Finds the minimum-area rectangle that holds all pixels of a mask, whole pixels counted.

    Args:
        mask: bool [H, W].

    Returns:
        The rectangle, None for an empty mask.
    """
    return box_around(_outer_corners(mask))


def box_around(points: np.ndarray) -> OrientedBox | None:
    """Finds the minimum-area rectangle that holds points [N, 2], three or more of which are not on a line.

    One side of that rectangle lies on a side of the convex hull (Freeman and Shapira, 1975), so all of the hull's sides
    are tried, at once.

    Returns:
        The rectangle, None for no points.
    """
    hull = convex_hull(points)
    if not len(hull):
        return None
    sides = np.roll(hull, -1, axis=0) - hull
    along = sides / np.linalg.norm(sides, axis=1, keepdims=True)  # [S, 2]
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    u, v = hull @ along.T, hull @ across.T  # [points, S]: the hull in each side's own axes
    length, breadth = np.ptp(u, axis=0), np.ptp(v, axis=0)
    best = int(np.argmin(length * breadth))
    middle = np.array([u[:, best].min() + length[best] / 2, v[:, best].min() + breadth[best] / 2])
    cx, cy = middle @ np.stack([along[best], across[best]])
    axis = along[best] if length[best] >= breadth[best] else across[best]
    angle = (np.rad2deg(np.arctan2(axis[1], axis[0])) + 90) % 180 - 90
    width, height = sorted((length[best], breadth[best]), reverse=True)
    return OrientedBox(float(cx), float(cy), float(width), float(height), float(angle))


def convex_hull(points: np.ndarray) -> np.ndarray:
    """The convex hull by Andrew's monotone chain.

    Args:
        points: [N, 2].

    Returns:
        float64 [K, 2], clockwise on the screen (y down), without points inside a side; at most N points.
    """
    ordered = [tuple(p) for p in np.unique(np.asarray(points, np.float64), axis=0)]
    if len(ordered) < 3:
        return np.array(ordered).reshape(-1, 2)
    return np.array(_chain(ordered)[:-1] + _chain(ordered[::-1])[:-1])


def _chain(points: list[tuple[float, ...]]) -> list[tuple[float, ...]]:
    chain: list[tuple[float, ...]] = []
    for x, y in points:
        while len(chain) > 1:
            (ax, ay), (bx, by) = chain[-2], chain[-1]
            if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                break
            chain.pop()
        chain.append((x, y))
    return chain


def _outer_corners(mask: np.ndarray) -> np.ndarray:
    """The corners of each row's first and last pixel, [4 · rows, 2]: all that the hull can need."""
    box = bounds(mask)
    if box is None:
        return np.empty((0, 2))
    x1, y1, x2, y2 = box
    cut = mask[y1:y2, x1:x2]
    rows = np.flatnonzero(cut.any(axis=1))
    first = cut[rows].argmax(axis=1) + x1
    last = x2 - cut[rows, ::-1].argmax(axis=1)
    top = rows + y1
    x, y = np.concatenate([first, last, first, last]), np.concatenate([top, top, top + 1, top + 1])
    return np.stack([x, y], axis=1)
