"""Where in a scene to look: a polygon or box in longitude and latitude, as pixels of the scene."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from rsvl.runtime.errors import InputError
from rsvl.runtime.images.georeference import WGS84, Georeference
from rsvl.runtime.images.raster import rasterio
from rsvl.runtime.images.scene import Scene
from rsvl.runtime.images.tiling import Window

Area: TypeAlias = "tuple[tuple[tuple[tuple[float, float], ...], ...], ...]"
"""Polygons, each an exterior and its holes, of (x, y); as the coordinates of GeoJSON's MultiPolygon."""

_STEPS = 32
"""Pieces of each side of a polygon: what is straight in longitude and latitude is curved in a projection."""

_MOST_BYTES = 64 << 20


class AreaScene:
    """A scene of which only an area counts as data.

    Attributes:
        height: rows.
        width: columns.
        georeference: where it lies.
        reading: how it was read.
    """

    def __init__(self, scene: Scene, area: Area) -> None:
        """Limits a scene to an area in its pixels; one that lies elsewhere is told."""
        self._scene, self._area = scene, area
        self.height, self.width, self.georeference = scene.height, scene.width, scene.georeference
        self.reading = getattr(scene, "reading", None)
        corners = np.concatenate([np.array(ring) for polygon in area for ring in polygon])
        (self._x1, self._y1), (self._x2, self._y2) = corners.min(axis=0), corners.max(axis=0)
        is_apart = self._x1 >= self.width or self._y1 >= self.height or self._x2 <= 0 or self._y2 <= 0
        if is_apart and self.reading is not None:
            self.reading.add("no part of the area lies in it (--aoi)")

    def read(self, window: Window | None = None) -> np.ndarray:
        """See `Scene.read`."""
        return self._scene.read(window)

    def valid(self, window: Window | None = None) -> np.ndarray | None:
        """See `Scene.valid`; false outside of the area."""
        window = window or Window(0, 0, self.height, self.width)
        inside = self.inside(window)
        if not inside.any():
            return inside
        valid = self._scene.valid(window)
        return inside if valid is None else inside & valid

    def inside(self, window: Window) -> np.ndarray:
        """Which pixels of a window have their centres in the area, bool [h, w]."""
        row, column, height, width = window
        if row > self._y2 or row + height < self._y1 or column > self._x2 or column + width < self._x1:
            return np.zeros((height, width), bool)
        from rasterio.features import geometry_mask

        shape = {"type": "MultiPolygon", "coordinates": self._area}
        moved = rasterio().Affine.translation(column, row)
        return np.asarray(geometry_mask([shape], (height, width), moved, invert=True))

    def thumbnail(self, side: int) -> np.ndarray:
        """See `Scene.thumbnail`."""
        return self._scene.thumbnail(side)

    def close(self) -> None:
        """See `Scene.close`."""
        self._scene.close()


def read_area(text: str) -> Area:
    """An area in longitude and latitude (WGS 84).

    Args:
        text: ``WEST,SOUTH,EAST,NORTH`` in degrees, or a GeoJSON file whose polygons are taken together.

    Raises:
        InputError: neither, or without polygons.
    """
    try:
        west, south, east, north = map(float, text.split(","))
    except ValueError:
        return _polygons_of_file(Path(text))
    if not (west < east and south < north and all(map(math.isfinite, (west, south, east, north)))):
        raise InputError(f"the box {text} is empty: give WEST,SOUTH,EAST,NORTH in degrees")
    return ((((west, south), (east, south), (east, north), (west, north), (west, south)),),)


def to_pixels(area: Area, place: Georeference | None, name: str) -> Area:
    """An area in longitude and latitude as one in pixels.

    Args:
        area: the area.
        place: where the image lies.
        name: the image's, for the message.

    Raises:
        InputError: the image has no transform and coordinate system, or the area does not touch its system's domain.
    """
    if place is None or place.transform is None or not place.crs:
        raise InputError(f"{name}: no transform and coordinate system: an area cannot be found in it, leave --aoi out")
    return tuple(tuple(_ring_in_pixels(ring, place, name) for ring in polygon) for polygon in area)


def _ring_in_pixels(ring: tuple[tuple[float, float], ...], place: Georeference, name: str) -> Any:
    points = _densified(np.array(ring, np.float64))
    if place.crs not in WGS84:
        from rasterio import warp

        points = np.stack(warp.transform("OGC:CRS84", place.crs, points[:, 0], points[:, 1]), axis=1)
    if not np.isfinite(points).all():
        raise InputError(f"{name}: the area lies where its coordinate system has no coordinates: give a smaller one")
    x, y = ~rasterio().Affine(*place.transform) * points.T  # type: ignore[misc]
    return tuple(zip(x.tolist(), y.tolist(), strict=True))


def _densified(ring: np.ndarray) -> np.ndarray:
    """A closed ring with points between its corners."""
    share = np.arange(_STEPS)[:, None] / _STEPS
    sides = [a + share * (b - a) for a, b in pairwise(ring)]
    return np.concatenate([*sides, ring[-1:]])


def _polygons_of_file(path: Path) -> Area:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError("too large")
        found = tuple(_polygons(json.loads(path.read_text(encoding="utf-8"))))
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read as an area ({error.strerror}): give WEST,SOUTH,EAST,NORTH or a GeoJSON file"
        ) from error
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
        raise InputError(f"{path}: not GeoJSON with polygons in longitude and latitude: write it as such") from error
    if not found:
        raise InputError(f"{path}: no polygon in it: draw one around the area")
    return found


def _polygons(data: Any) -> Any:
    """The polygons of a GeoJSON object, whatever it is."""
    kind = data["type"]
    if kind == "FeatureCollection":
        for feature in data["features"]:
            yield from _polygons(feature)
    elif kind == "Feature":
        yield from _polygons(data["geometry"])
    elif kind == "GeometryCollection":
        for geometry in data["geometries"]:
            yield from _polygons(geometry)
    elif kind in ("Polygon", "MultiPolygon"):
        for polygon in [data["coordinates"]] if kind == "Polygon" else data["coordinates"]:
            rings = [np.array([[float(x) for x in point[:2]] for point in ring]) for ring in polygon]
            for ring in rings:
                if ring.shape[0] < 4 or not np.isfinite(ring).all() or np.abs(ring).max(axis=0)[1] > 90:
                    raise ValueError("a ring that is none")
            yield tuple(tuple(map(tuple, ring.tolist())) for ring in rings)
