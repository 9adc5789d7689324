"""Where an image lies on the ground."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from rsvl.runtime.errors import MissingComponentError
from rsvl.runtime.extras import remedy
from rsvl.runtime.images.geodesy import signed_area

WGS84 = ("EPSG:4326", "OGC:CRS84")

#: From so many ground control points on, a thin plate spline through all of them is used, up to so many.
_SPLINE_FROM, _SPLINE_UP_TO = 4, 2000


class ControlPoint(NamedTuple):
    """A ground control point: a place in the image, in pixel edges, and in the coordinate system."""

    column: float
    row: float
    x: float
    y: float
    z: float


@dataclass(frozen=True)
class Georeference:
    """Where an image lies on the ground, in plain values: by a transform, by ground control points, or by RPCs.

    Attributes:
        crs: ``EPSG:…``, or WKT for a system without a code; empty where the image does not say.
        transform: (a, b, c, d, e, f) with x = a·column + b·row + c and y = d·column + e·row + f, in the order of
            ``affine.Affine``; columns and rows count from the upper left corner of the upper left pixel. None for an
            image that is placed by points or RPCs.
        metres: length of the system's unit in metres; None when it is an angle.
        points: ground control points, where there is no transform.
        rpcs: rational polynomial coefficients as ``rasterio.rpc.RPC``, where there is neither.
    """

    crs: str
    transform: tuple[float, float, float, float, float, float] | None
    metres: float | None = None
    points: tuple[ControlPoint, ...] = ()
    rpcs: Any = None

    def to_world(self, points: np.ndarray) -> np.ndarray:
        """Turns pixel coordinates (x, y) [..., 2] into the system's own, float64 [..., 2]."""
        points = np.asarray(points, np.float64)
        if self.transform is not None:
            a, b, c, d, e, f = self.transform
            return points @ np.array([[a, d], [b, e]]) + np.array([c, f])
        flat = points.reshape(-1, 2)
        x, y = self._transformer.xy(flat[:, 1], flat[:, 0], offset="ul")
        return np.stack([x, y], axis=-1).reshape(points.shape)

    def to_wgs84(self, points: np.ndarray) -> np.ndarray | None:
        """Turns pixel coordinates (x, y) [..., 2] into longitude and latitude in degrees, float64 [..., 2].

        Returns:
            None where the coordinate system is not known, not on Earth, or cannot be transformed; values that are not
            finite for points outside the system's domain.
        """
        if not self.crs:
            return None
        world = self.to_world(points)
        if self.crs in WGS84:
            return world
        from rasterio import warp
        from rasterio._err import CPLE_BaseError
        from rasterio.errors import RasterioError

        flat = world.reshape(-1, 2)
        try:
            lon, lat = warp.transform(self.crs, "OGC:CRS84", flat[:, 0], flat[:, 1])
        except (RasterioError, CPLE_BaseError):
            return None
        return np.stack([lon, lat], axis=-1).reshape(world.shape)

    def frame(self, height: int, width: int) -> np.ndarray | None:
        """The corners and the middles of the sides of an image of that size, [8, 2], longitude and latitude in degrees.

        Returns:
            None where they are not known.
        """
        x, y = width / 2, height / 2
        points = [[0, 0], [x, 0], [width, 0], [width, y], [width, height], [x, height], [0, height], [0, y]]
        found = self.to_wgs84(np.array(points))
        return found if found is not None and np.isfinite(found).all() else None

    def resolution(self, height: int, width: int) -> float | None:
        """The side in metres of the ground that the pixel in the middle covers, None where that is not known."""
        x, y = width / 2, height / 2
        corners = self.to_wgs84(np.array([[x, y], [x + 1, y], [x + 1, y + 1], [x, y + 1]]))
        if corners is not None and np.isfinite(corners).all():
            return math.sqrt(abs(signed_area(corners))) or None
        return None if self.pixel_area is None else math.sqrt(self.pixel_area)

    @cached_property
    def mirrors(self) -> bool:
        """Whether rows run against y (north up, the usual case): what is clockwise on the screen is so on the map."""
        origin, right, below = self.to_world(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
        across, along = right - origin, below - origin
        return bool(across[0] * along[1] - across[1] * along[0] < 0)

    @property
    def pixel_area(self) -> float | None:
        """Area of a pixel in the plane of the coordinate system, in square metres; None when its unit is an angle."""
        if self.metres is None or self.transform is None:
            return None
        a, b, _, d, e, _ = self.transform
        return abs(a * e - b * d) * self.metres**2

    @property
    def is_sound(self) -> bool:
        """Whether points or RPCs give the upper left pixel a place: points may be all the same."""
        from rasterio._err import CPLE_BaseError
        from rasterio.errors import RasterioError

        try:
            corners = self.to_world(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
        except (RasterioError, CPLE_BaseError, ValueError):
            return False
        return bool(np.isfinite(corners).all() and len(np.unique(corners, axis=0)) == 3)

    @property
    def how(self) -> str:
        """What the image is placed by: ``transform``, ``control points`` or ``RPCs``."""
        if self.transform is not None:
            return "transform"
        return "control points" if self.points else "RPCs"

    @cached_property
    def _transformer(self) -> Any:
        try:
            from rasterio.control import GroundControlPoint
            from rasterio.transform import GCPTransformer, RPCTransformer
        except ImportError as error:
            raise MissingComponentError(f"georeferenced images need rasterio: {remedy('rasterio')}") from error
        if self.points:
            points = [GroundControlPoint(p.row, p.column, p.x, p.y, p.z) for p in self.points]
            return GCPTransformer(points, tps=_SPLINE_FROM <= len(points) <= _SPLINE_UP_TO)
        return RPCTransformer(self.rpcs, RPC_HEIGHT=self.rpcs.height_off)


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """The part of the smaller of two frames that the other one covers too, 0…1.

    Args:
        first: float [K, 2], longitude and latitude of the frame's corners; its bounds are compared.
        second: the other frame's.
    """
    middle = first[0, 0]  # longitudes are counted from here, so that the antimeridian is like any other
    bounds = []
    for frame in (first, second):
        lon = middle + (frame[:, 0] - middle + 180) % 360 - 180
        bounds.append((lon.min(), frame[:, 1].min(), lon.max(), frame[:, 1].max()))
    (w1, s1, e1, n1), (w2, s2, e2, n2) = bounds
    both = max(0.0, min(e1, e2) - max(w1, w2)) * max(0.0, min(n1, n2) - max(s1, s2))
    smaller = min((e1 - w1) * (n1 - s1), (e2 - w2) * (n2 - s2))
    return both / smaller if smaller > 0 else 0.0
