"""Writing results of one image to one file, by its suffix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rsvl.runtime.atomic import replacing
from rsvl.runtime.errors import UsageError
from rsvl.runtime.results import geojson, geotiff, overlay, tables

if TYPE_CHECKING:
    from rsvl.runtime.results.base import SpatialResult

_IMAGES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
_RASTERS = (".tif", ".tiff")
_VECTORS = (".geojson", ".json")
_TABLES = {".gpkg": tables.write_geopackage, ".parquet": tables.write_geoparquet}


def save(results: Sequence[SpatialResult], path: str | Path) -> None:
    """Writes results of one image to one file, by its suffix.

    - ``.png``, ``.jpg``, ``.webp``: the overlay that `SpatialResult.plot` draws, one colour per sentence;
    - ``.tif``: a GeoTIFF with one band per sentence, 1 inside, 0 outside, 255 no data, and the image's georeference;
    - ``.geojson``: one feature per object or box, in WGS 84, with its properties (`rsvl.runtime.results.geojson`);
    - ``.gpkg``, ``.parquet``: the same as GeoPackage and GeoParquet;
    - ``.projected.geojson``: the same in the image's own coordinate system;
    - ``.json``: the same in pixels, which is no GeoJSON.

    Raises:
        UsageError: another suffix, no result, a GeoTIFF of results without masks, or a GeoJSON or table of an image
            whose place is not known.
        MissingComponentError: a GeoTIFF or table without the extra ``[geo]``.
        OutputError: the file cannot be written; nothing is left behind.

    Examples:
        >>> import rsvl.runtime
        >>> found = rsvl.runtime.load("tiny.bundle").segment("squares.png", ["the red square", "the blue square"])
        >>> save(found, "both.png")
        >>> save(found, "both.json")
    """
    suffix = Path(path).suffix.lower()
    if not results:
        raise UsageError("there is no result to save")
    if suffix in _IMAGES:
        image = overlay.draw(results)
        with replacing(path) as temporary:
            image.save(temporary, _IMAGES[suffix])
    elif suffix in _RASTERS:
        masks = [result.mask for result in results if result.mask is not None]
        if len(masks) != len(results):
            raise UsageError(f"{path}: boxes are no masks: write them to .geojson or an image file")
        texts, scene = [getattr(result.text, "name", "") or result.text for result in results], results[0].scene
        geotiff.write_masks(path, masks, texts, results[0].georeference, None if scene is None else scene.valid())
    elif suffix in _VECTORS:
        geojson.write(path, results)
    elif suffix in _TABLES:
        _TABLES[suffix](path, results)
    else:
        known = ", ".join([*_IMAGES, *_RASTERS, *_VECTORS, *_TABLES])
        raise UsageError(f"{path}: cannot tell what to write from its suffix: use one of {known}")
