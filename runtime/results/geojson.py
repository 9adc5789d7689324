"""Results as GeoJSON (RFC 7946, and its legacy `crs` member where the image is not in WGS 84).

Coordinates are in the image's own system. RFC 7946 knows only WGS 84; for any other system the `crs` member of GeoJSON
2008 names it, which GDAL, QGIS and PostGIS read. An image without a georeference gives pixel coordinates, y down.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rsvl.runtime.atomic import write_text
from rsvl.runtime.images.raster import Georeference
from rsvl.runtime.results.contours import Polygon

if TYPE_CHECKING:
    from rsvl.runtime.results.base import Part, SpatialResult

_WGS84 = ("EPSG:4326", "OGC:CRS84")


def write(path: str | Path, results: Sequence[SpatialResult]) -> None:
    """Writes the features of results, all of one image.

    Raises:
        OutputError: the file cannot be written.
    """
    write_text(path, json.dumps(collection(results)) + "\n")


def collection(results: Sequence[SpatialResult]) -> dict[str, Any]:
    """The results of one image as a FeatureCollection.

    Each feature has the properties `text`, `score`, `area` and `area_unit`: `m2` where the image's system is projected,
    else `pixels`. A mask is one feature, a Polygon or MultiPolygon of its connected components; each
    box is one. The geometry is null where nothing was found.
    """
    found: dict[str, Any] = {"type": "FeatureCollection"}
    georeference = results[0].georeference if results else None
    if georeference is not None and georeference.crs not in _WGS84:
        found["crs"] = {"type": "name", "properties": {"name": _urn(georeference.crs)}}
    found["features"] = [_feature(result, part) for result in results for part in result.parts]
    return found


def _feature(result: SpatialResult, part: Part) -> dict[str, Any]:
    pixel_area = result.georeference.pixel_area if result.georeference else None
    return {
        "type": "Feature",
        "properties": {
            "text": result.text,
            "score": round(part.score, 6),
            "area": part.area * (1 if pixel_area is None else pixel_area),
            "area_unit": "pixels" if pixel_area is None else "m2",
        },
        "geometry": _geometry(part.polygons, result.georeference),
    }


def _geometry(polygons: Sequence[Polygon], georeference: Georeference | None) -> dict[str, Any] | None:
    parts = [[_ring(ring, georeference) for ring in (p.exterior, *p.holes)] for p in polygons]
    if not parts:
        return None
    if len(parts) == 1:
        return {"type": "Polygon", "coordinates": parts[0]}
    return {"type": "MultiPolygon", "coordinates": parts}


def _ring(corners: np.ndarray, georeference: Georeference | None) -> list[list[float]]:
    """A closed ring, oriented as RFC 7946 asks: exteriors counter-clockwise, y pointing up."""
    world = corners.astype(np.float64) if georeference is None else georeference.to_world(corners)
    if georeference is not None and _mirrors(georeference):
        world = world[::-1]
    return [*world.tolist(), world[0].tolist()]


def _mirrors(georeference: Georeference) -> bool:
    """Whether rows run against y (north up, the usual case), which turns clockwise on the screen into clockwise."""
    a, b, _, d, e, _ = georeference.transform
    return a * e - b * d < 0


def _urn(crs: str) -> str:
    authority, _, code = crs.partition(":")
    return f"urn:ogc:def:crs:{authority}::{code}" if code.isalnum() else crs
