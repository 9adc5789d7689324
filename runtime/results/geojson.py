"""Results as GeoJSON (RFC 7946): longitude and latitude in WGS 84, areas measured on the ellipsoid.

Two other forms have names of their own: the image's own coordinate system, with the `crs` member of GeoJSON 2008 that
GDAL, QGIS and PostGIS read (`projected`), and pixels, for an image whose place is not known, in a JSON that no program
takes for longitudes and latitudes (`in_pixels`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rsvl.runtime.atomic import replacing
from rsvl.runtime.errors import UsageError
from rsvl.runtime.images.geodesy import signed_area
from rsvl.runtime.images.georeference import WGS84, Georeference
from rsvl.runtime.results.antimeridian import cut
from rsvl.runtime.results.contours import Polygon
from rsvl.runtime.results.oriented_box import box_around

if TYPE_CHECKING:
    from rsvl.runtime.results.base import Part, SpatialResult

#: Digits after the point of a degree: a tenth of a millimetre.
_DIGITS = 9
PIXELS = "rsvl outlines in pixels"


def write(path: str | Path, results: Sequence[SpatialResult]) -> None:
    """Writes results, all of one image: `projected` to ``.projected.geojson``, `in_pixels` to ``.json``.

    One feature is written after the other: what a scene has of them need not fit in memory as text.

    Raises:
        UsageError: a GeoJSON of an image whose place is not known.
        OutputError: the file cannot be written.
    """
    name = Path(path).name.lower()
    if name.endswith(".json"):
        head, key, features = _pixel_head(results), "objects", _pixel_objects(results)
    elif name.endswith(".projected.geojson"):
        head, key, features = _projected_head(results), "features", _projected_features(results)
    else:
        head, key, features = _head(results), "features", _features(results)
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(f"{json.dumps(head)[:-1]}, {json.dumps(key)}: [")
        for number, feature in enumerate(features):
            file.write((",\n" if number else "\n") + json.dumps(feature, allow_nan=False))
        file.write("\n]}\n")


def is_placed(results: Sequence[SpatialResult]) -> bool:
    """Whether it is known where on Earth the image lies, so that `collection` has coordinates."""
    return is_on_earth(results[0].georeference if results else None)


def is_on_earth(place: Georeference | None) -> bool:
    """Whether a georeference gives longitudes and latitudes."""
    return place is not None and place.to_wgs84(np.zeros((1, 2))) is not None


def collection(results: Sequence[SpatialResult]) -> dict[str, Any]:
    """The results of one image as a FeatureCollection in WGS 84.

    Each object of a mask and each box is one feature with an `id`, which counts from 1, and the properties `text`,
    `score`, `area` and `area_unit`, which is ``m2``; an object has also `peak`, its largest probability, and
    `oriented_box`, the four corners of the smallest rectangle around it; a sentence's `name` is there where it has one.
    A tile has its `label`. What was not found is no feature. Polygons are cut at the antimeridian.

    Raises:
        UsageError: it is not known where on Earth the image lies.
    """
    return {**_head(results), "features": list(features(results))}


def features(results: Sequence[SpatialResult]) -> Iterator[dict[str, Any]]:
    """The features of `collection`, one after the other.

    Raises:
        UsageError: it is not known where on Earth the image lies.
    """
    _head(results)
    return _features(results)


def projected(results: Sequence[SpatialResult]) -> dict[str, Any]:
    """The results of one image as a FeatureCollection in the image's own coordinate system, as GeoJSON 2008 had it.

    Areas are as in `collection`; where they cannot be measured, they are those of the system's plane, or pixels.

    Raises:
        UsageError: the image has no coordinate system.
    """
    return {**_projected_head(results), "features": list(_projected_features(results))}


def in_pixels(results: Sequence[SpatialResult]) -> dict[str, Any]:
    """The results of one image in pixels, y down, the upper left pixel's upper left corner being (0, 0).

    The rings of `polygons` are closed; the first of each is the exterior.
    """
    return {**_pixel_head(results), "objects": list(_pixel_objects(results))}


def _head(results: Sequence[SpatialResult]) -> dict[str, Any]:
    if results and not is_placed(results):
        raise UsageError("it is not known where on Earth the image lies: save outlines in pixels, to .json")
    return {"type": "FeatureCollection"}


def _features(results: Sequence[SpatialResult]) -> Iterator[dict[str, Any]]:
    for number, (result, part) in enumerate(_found(results), start=1):
        place = _placed(result)
        polygons = [rings for polygon in part.polygons if (rings := _on_earth(polygon, place)) is not None]
        drawn = polygons
        if part.tolerance:
            drawn = [rings for polygon in part.drawn if (rings := _on_earth(polygon, place)) is not None]
        cuts = [piece for rings in drawn for piece in cut(rings)]
        if cuts:
            area = sum(signed_area(ring) for rings in polygons for ring in rings)
            properties = _properties(result, part, area, "m2", place.to_wgs84)
            yield _feature(number, properties, [[_closed(r) for r in rings] for rings in cuts])


def _projected_head(results: Sequence[SpatialResult]) -> dict[str, Any]:
    if results and not (results[0].georeference and results[0].georeference.crs):
        raise UsageError("the image has no coordinate system: save outlines in pixels, to .json")
    found: dict[str, Any] = {"type": "FeatureCollection"}
    if results and (place := _placed(results[0])).crs not in WGS84:
        found["crs"] = {"type": "name", "properties": {"name": _urn(place.crs)}}
    return found


def _projected_features(results: Sequence[SpatialResult]) -> Iterator[dict[str, Any]]:
    for number, (result, part) in enumerate(_found(results), start=1):
        place = _placed(result)
        rings = [[_turned(place.to_world(ring), place) for ring in (p.exterior, *p.holes)] for p in part.drawn]
        properties = _properties(result, part, *_area(part, place), place.to_world)
        yield _feature(number, properties, [[_closed(r, None) for r in each] for each in rings])


def _pixel_head(results: Sequence[SpatialResult]) -> dict[str, Any]:
    height, width = results[0].size if results else (0, 0)
    return {"format": PIXELS, "width": width, "height": height}


def _pixel_objects(results: Sequence[SpatialResult]) -> Iterator[dict[str, Any]]:
    for number, (result, part) in enumerate(_found(results), start=1):
        polygons = [[_closed(ring, None) for ring in (p.exterior, *p.holes)] for p in part.drawn]
        yield {"id": number, **_properties(result, part, part.area, "pixels", np.asarray), "polygons": polygons}


def _found(results: Sequence[SpatialResult]) -> Iterator[tuple[SpatialResult, Part]]:
    return ((result, part) for result in results for part in result.parts if part.polygons)


def _placed(result: SpatialResult) -> Georeference:
    assert result.georeference is not None
    return result.georeference


def _feature(number: int, properties: dict[str, Any], polygons: list[Any]) -> dict[str, Any]:
    if len(polygons) == 1:
        geometry = {"type": "Polygon", "coordinates": polygons[0]}
    else:
        geometry = {"type": "MultiPolygon", "coordinates": polygons}
    return {"type": "Feature", "id": number, "properties": properties, "geometry": geometry}


def _properties(
    result: SpatialResult, part: Part, area: float, unit: str, to_place: Callable[[np.ndarray], np.ndarray | None]
) -> dict[str, Any]:
    found = {"text": result.text, "score": round(part.score, 6), "area": float(area), "area_unit": unit}
    if name := getattr(result.text, "name", ""):
        found["name"] = name
    if part.label:
        found["label"] = part.label
    if part.peak is not None:
        box = box_around(np.concatenate([polygon.exterior for polygon in part.polygons]))
        corners = None if box is None else to_place(box.corners)
        found |= {"peak": round(part.peak, 6), "oriented_box": None if corners is None else _rounded(corners)}
    return found


def _rounded(corners: np.ndarray) -> list[list[float]] | None:
    return corners.round(_DIGITS).tolist() if np.isfinite(corners).all() else None


def _area(part: Part, place: Georeference) -> tuple[float, str]:
    polygons = [_on_earth(polygon, place) for polygon in part.polygons]
    if all(rings is not None for rings in polygons):
        return sum(signed_area(ring) for rings in polygons for ring in rings or ()), "m2"
    return (part.area, "pixels") if place.pixel_area is None else (part.area * place.pixel_area, "m2")


def _on_earth(polygon: Polygon, place: Georeference) -> list[np.ndarray] | None:
    """A polygon's rings in longitude and latitude, exteriors counter-clockwise; None where it leaves the Earth."""
    rings = (polygon.exterior, *polygon.holes)
    found = place.to_wgs84(np.concatenate(rings).astype(np.float64))
    if found is None or not np.isfinite(found).all():
        return None
    return [_turned(ring, place) for ring in np.split(found, np.cumsum([len(ring) for ring in rings])[:-1])]


def _turned(ring: np.ndarray, place: Georeference) -> np.ndarray:
    """A ring that is clockwise on the screen, oriented as RFC 7946 asks: exteriors counter-clockwise, y pointing up."""
    return ring[::-1] if place.mirrors else ring


def _closed(ring: np.ndarray, digits: int | None = _DIGITS) -> list[list[float]]:
    corners = ring.astype(np.float64)
    corners = corners if digits is None else corners.round(digits)
    return [*corners.tolist(), corners[0].tolist()]


def _urn(crs: str) -> str:
    authority, _, code = crs.partition(":")
    return f"urn:ogc:def:crs:{authority}::{code}" if code.isalnum() else crs
