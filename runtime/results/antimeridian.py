"""Polygons cut at the antimeridian, as RFC 7946 (section 3.1.9) asks: no part of a polygon crosses 180 degrees."""

from __future__ import annotations

import math

import numpy as np

from rsvl.runtime.images.geodesy import unwrapped

Rings = list[np.ndarray]
"""A polygon: its exterior, counter-clockwise, then its holes, clockwise; float64 [K, 2], no corner repeated."""


def cut(rings: Rings) -> list[Rings]:
    """Cuts a polygon where it crosses the antimeridian.

    Args:
        rings: in longitude and latitude; longitudes may jump by 360 degrees, and the exterior may run around a pole.

    Returns:
        Polygons whose longitudes are within -180…180.
    """
    exterior = _without_jumps(rings[0])
    middle = (exterior[:, 0].min() + exterior[:, 0].max()) / 2
    holes = [_beside(_without_jumps(hole), middle) for hole in rings[1:]]
    low, high = exterior[:, 0].min(), exterior[:, 0].max()
    parts = []
    for turn in range(math.floor((low + 180) / 360), math.ceil((high - 180) / 360) + 1):
        west = -180.0 + 360 * turn
        for part in _right_of([exterior, *holes], west):
            parts += [[ring - np.array([360.0 * turn, 0.0]) for ring in piece] for piece in _left_of(part, west + 360)]
    return parts


def _without_jumps(ring: np.ndarray) -> np.ndarray:
    """A ring whose longitudes run on; one around a pole is closed by way of the pole."""
    longitude = unwrapped(ring[:, 0])
    run_on = np.stack([longitude, ring[:, 1]], axis=1)
    step = (ring[0, 0] - ring[-1, 0] + 180) % 360 - 180
    around = longitude[-1] + step - longitude[0]
    if abs(around) < 180:
        return run_on
    pole = math.copysign(90.0, around)
    last = longitude[0] + around
    return np.concatenate([run_on, [[last, ring[0, 1]], [last, pole], [longitude[0], pole]]])


def _beside(ring: np.ndarray, middle: float) -> np.ndarray:
    """A ring turned by whole circles to where the polygon is."""
    turns = round((middle - ring[:, 0].mean()) / 360)
    return ring + np.array([360.0 * turns, 0.0])


def _right_of(rings: Rings, x: float) -> list[Rings]:
    """The parts of a polygon right of a line of longitude."""
    mirror = np.array([-1.0, 1.0])
    parts = _left_of([ring[::-1] * mirror for ring in rings], -x)
    return [[ring[::-1] * mirror for ring in part] for part in parts]


def _left_of(rings: Rings, x: float) -> list[Rings]:
    """The parts of a polygon left of a line of longitude.

    The interior is on the left of every ring. So where a ring leaves over the line, eastwards, the part's own ring goes
    on along the line northwards, up to where the next ring comes back.
    """
    if (rings[0][:, 0] <= x).all():
        return [rings]
    chains: list[np.ndarray] = []  # from where a ring comes over the line to where it leaves again
    whole = []
    for ring in rings:
        inside = ring[:, 0] <= x
        if inside.all():
            whole.append(ring)
        elif inside.any():
            chains += _chains(ring, inside, x)
    parts = [[exterior] for exterior in _joined(chains)]
    for hole in whole:
        home = next((part for part in parts if _holds(part[0], hole[0])), None)
        if home is not None:
            home.append(hole)
    return parts


def _chains(ring: np.ndarray, inside: np.ndarray, x: float) -> list[np.ndarray]:
    first = int(np.flatnonzero(inside & ~np.roll(inside, 1))[0])
    ring, inside = np.roll(ring, -first, axis=0), np.roll(inside, -first)
    starts = np.flatnonzero(inside & ~np.roll(inside, 1))
    chains = []
    for start in starts:
        length = int(np.argmin(np.append(inside[start:], False)))
        end = start + length
        entry = _crossing(ring[start - 1], ring[start], x)
        leave = _crossing(ring[end - 1], ring[end % len(ring)], x)
        chains.append(np.concatenate([[entry], ring[start:end], [leave]]))
    return chains


def _crossing(a: np.ndarray, b: np.ndarray, x: float) -> tuple[float, float]:
    part = (x - a[0]) / (b[0] - a[0])
    return x, float(a[1] + part * (b[1] - a[1]))


def _joined(chains: list[np.ndarray]) -> list[np.ndarray]:
    """Closed rings of chains, each joined to the one that comes back next to the north of where it leaves."""
    left = set(range(len(chains)))
    rings = []
    while left:
        start = current = min(left)
        path: list[np.ndarray] = []
        while current in left:
            left.remove(current)
            path.append(chains[current])
            leave = chains[current][-1][1]
            above = [i for i in (*left, start) if chains[i][0][1] >= leave]
            current = min(above, key=lambda i: chains[i][0][1]) if above else start
        rings.append(np.concatenate(path))
    return rings


def _holds(ring: np.ndarray, point: np.ndarray) -> bool:
    """Whether a point lies in a ring: it is crossed an odd number of times by a ray to the east."""
    a, b = ring, np.roll(ring, -1, axis=0)
    spans = (a[:, 1] > point[1]) != (b[:, 1] > point[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        at = a[:, 0] + (point[1] - a[:, 1]) * (b[:, 0] - a[:, 0]) / (b[:, 1] - a[:, 1])
    return bool((spans & (at > point[0])).sum() % 2)
