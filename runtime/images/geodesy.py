"""Areas on the ground, by the ellipsoid of WGS 84."""

from __future__ import annotations

import numpy as np

_A = 6_378_137.0
_E2 = 0.0066943799901413165
_E = _E2**0.5


def signed_area(lonlat: np.ndarray) -> float:
    """The area on the ellipsoid to the left of a ring, in square metres.

    The ring is measured where areas are kept exactly: in the equal-area cylindrical projection of the ellipsoid, whose
    y axis is the authalic q (Snyder, Map Projections, 1987, equations 3-12 and 10-13). Between two corners the ring is
    straight there, which for outlines of pixels differs from any other line by nothing that counts.

    Args:
        lonlat: float64 [K, 2], longitude and latitude in degrees, the first corner not repeated; longitudes may jump by
            360 degrees, and the ring may run around a pole.

    Returns:
        Positive where the ring runs counter-clockwise seen from above. A ring around a pole has its area on the left.
    """
    radians = np.deg2rad(np.asarray(lonlat, np.float64))
    steps = np.diff(radians[:, 0], append=radians[0, 0])
    steps = (steps + np.pi) % (2 * np.pi) - np.pi
    around = abs(round(steps.sum() / (2 * np.pi)))  # a pole: once
    q = _authalic_q(radians[:, 1])
    middle = 0.0 if around else q.mean()  # keeps small areas exact
    below = (steps * ((q - middle) + (np.roll(q, -1) - middle)) / 2).sum()
    return float(_A**2 / 2 * (around * 2 * np.pi * _authalic_q(np.array(np.pi / 2)) - below))


def unwrapped(longitude: np.ndarray) -> np.ndarray:
    """Longitudes in degrees without jumps of 360 from one to the next."""
    return np.rad2deg(np.unwrap(np.deg2rad(longitude)))


def _authalic_q(latitude: np.ndarray) -> np.ndarray:
    s = np.sin(latitude)
    return (1 - _E2) * (s / (1 - _E2 * s**2) + np.arctanh(_E * s) / _E)
