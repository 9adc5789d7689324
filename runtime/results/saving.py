"""Writing results to files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from rsvl.runtime.atomic import replacing
from rsvl.runtime.errors import UsageError
from rsvl.runtime.results import geojson, geotiff, overlay
from rsvl.runtime.results.base import Result, SpatialResult
from rsvl.runtime.results.raw import RawOutputs

_IMAGES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
_RASTERS = (".tif", ".tiff")
_VECTORS = (".geojson", ".json")


def save(results: Sequence[SpatialResult], path: str | Path) -> None:
    """Writes results of one image to one file, by its suffix.

    - ``.png``, ``.jpg``, ``.webp``: the overlay that `SpatialResult.plot` draws, one colour per sentence;
    - ``.tif``: a GeoTIFF with one band per sentence, 1 inside and 0 outside, and the image's georeference (masks only);
    - ``.geojson``: one feature per mask or box with text, score and area (`rsvl.runtime.results.geojson`).

    Raises:
        UsageError: another suffix, no result, or a GeoTIFF of results without masks.
        MissingComponentError: a GeoTIFF without rasterio.
        OutputError: the file cannot be written; nothing is left behind.
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
        geotiff.write_masks(path, masks, [result.text for result in results], results[0].georeference)
    elif suffix in _VECTORS:
        geojson.write(path, results)
    else:
        known = ", ".join([*_IMAGES, *_RASTERS, *_VECTORS])
        raise UsageError(f"{path}: cannot tell what to write from its suffix: use one of {known}")


def save_all(
    results: Sequence[Result],
    folder: Path,
    stem: str,
    *,
    geotiff: bool = False,
    geojson: bool = False,
    mask: bool = False,
) -> list[Path]:
    """Writes all that belongs to the results of one image, each file named ``STEM-…``.

    Results that lie in an image give an overlay; for a georeferenced image also masks as a GeoTIFF and outlines or
    boxes as GeoJSON. Raw outputs give a ``.npz`` file, answers and labels nothing.

    Args:
        results: of one image.
        folder: where to; it exists.
        stem: what the files' names begin with.
        geotiff: write the GeoTIFF of an image without georeference, too.
        geojson: write the GeoJSON of an image without georeference, too.
        mask: write each mask as a PNG, 255 inside.

    Returns:
        The files that were written.

    Raises:
        OutputError: one cannot be written.
    """
    spatial = [result for result in results if isinstance(result, SpatialResult)]
    files = [*_save_spatial(spatial, folder, stem, geotiff, geojson, mask)] if spatial else []
    for result in results:
        if isinstance(result, RawOutputs):
            files.append(folder / f"{stem}-outputs.npz")
            with replacing(files[-1]) as temporary, temporary.open("wb") as stream:
                np.savez(stream, allow_pickle=False, **result.arrays)
    return files


def _save_spatial(
    results: Sequence[SpatialResult], folder: Path, stem: str, geotiff: bool, geojson: bool, mask: bool
) -> list[Path]:
    georeferenced = results[0].georeference is not None
    masks = [result.mask for result in results if result.mask is not None]
    suffixes = ["overlay.png"]
    if masks and (geotiff or georeferenced):
        suffixes.append("masks.tif")
    if geojson or georeferenced:
        suffixes.append(f"{'outlines' if masks else 'boxes'}.geojson")
    files = [folder / f"{stem}-{suffix}" for suffix in suffixes]
    for file in files:
        save(results, file)
    for number, pixels in enumerate(masks if mask else [], start=1):
        files.append(folder / f"{stem}-mask-{number}.png")
        with replacing(files[-1]) as temporary:
            Image.fromarray(pixels).convert("L").save(temporary, "PNG")
    return files
