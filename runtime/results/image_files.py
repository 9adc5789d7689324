"""All files that belong to the results of one image, named after it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from rsvl.runtime.atomic import replacing
from rsvl.runtime.results.base import Result, SpatialResult
from rsvl.runtime.results.raw import RawOutputs
from rsvl.runtime.results.saving import save


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
