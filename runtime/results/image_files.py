"""All files that belong to the results of one image, named after it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from rsvl.runtime.atomic import replacing
from rsvl.runtime.errors import InputError
from rsvl.runtime.images.georeference import Georeference
from rsvl.runtime.results.base import Result, SpatialResult
from rsvl.runtime.results.geojson import is_on_earth, is_placed
from rsvl.runtime.results.raw import RawOutputs
from rsvl.runtime.results.saving import save
from rsvl.runtime.results.tile_table import TileTable, tile_tables, write_csv, write_raster


def save_all(
    results: Sequence[Result],
    folder: Path,
    stem: str,
    *,
    geotiff: bool = False,
    geojson: bool = False,
    projected: bool = False,
    gpkg: bool = False,
    geoparquet: bool = False,
    mask: bool = False,
) -> list[Path]:
    """Writes all that belongs to the results of one image, each file named ``STEM-…``.

    Results that lie in an image give an overlay; for a georeferenced image also masks as a GeoTIFF, and outlines or
    boxes as GeoJSON: in WGS 84, or where the place on Earth is not known, in the image's own coordinate system. Raw
    outputs give a ``.npz`` file, answers and labels of a scene's tiles a table, a map and a raster
    (`rsvl.runtime.results.tile_table`), those of whole images nothing.

    Args:
        results: of one image.
        folder: where to; it exists.
        stem: what the files' names begin with.
        geotiff: write the GeoTIFF of an image without georeference, too.
        geojson: write outlines or boxes of an image whose place is not known, too, in pixels as ``.json``.
        projected: write them in the image's own coordinate system, too.
        gpkg: write them as a GeoPackage, too.
        geoparquet: write them as GeoParquet, too.
        mask: write each mask as a PNG, 255 inside.

    Returns:
        The files that were written.

    Raises:
        InputError: the image has no coordinate system for `projected`, no known place for a table.
        OutputError: one cannot be written.
    """
    tiles = tile_tables(results)
    spatial = [result for result in results if isinstance(result, SpatialResult)]
    tables = [suffix for suffix, is_asked in ((".gpkg", gpkg), (".parquet", geoparquet)) if is_asked]
    if tables and (placed := [*spatial, *tiles]):
        check_place(placed[0].georeference)
    files = _save_spatial(spatial, folder, stem, geotiff, geojson, projected, tables, mask) if spatial else []
    files += _save_tiles(tiles, folder, stem, geotiff, geojson, projected, tables) if tiles else []
    for result in results:
        if isinstance(result, RawOutputs):
            files.append(folder / f"{stem}-outputs.npz")
            with replacing(files[-1]) as temporary, temporary.open("wb") as stream:
                np.savez(stream, allow_pickle=False, **result.arrays)
    return files


def _save_spatial(
    results: Sequence[SpatialResult],
    folder: Path,
    stem: str,
    geotiff: bool,
    geojson: bool,
    projected: bool,
    tables: Sequence[str],
    mask: bool,
) -> list[Path]:
    masks = [result.mask for result in results if result.mask is not None]
    suffixes = ["masks.tif"] if masks and (geotiff or results[0].georeference is not None) else []
    suffixes += [f"{results[0].shapes}{form}" for form in [*_vectors(results, geojson, projected), *tables]]
    files = [folder / f"{stem}-{suffix}" for suffix in suffixes]
    for file in files:
        save(results, file)
    for number, pixels in enumerate(masks if mask else [], start=1):
        files.append(folder / f"{stem}-mask-{number}.png")
        with replacing(files[-1]) as temporary:
            Image.fromarray(pixels).convert("L").save(temporary, "PNG")
    files.append(folder / f"{stem}-overlay.png")  # last: what is measured matters more than what is looked at
    save(results, files[-1])
    return files


def _save_tiles(
    results: Sequence[TileTable],
    folder: Path,
    stem: str,
    geotiff: bool,
    geojson: bool,
    projected: bool,
    tables: Sequence[str],
) -> list[Path]:
    files = [folder / f"{stem}-tiles.csv"]
    write_csv(files[0], results)
    for form in [*_vectors(results, geojson, projected), *tables]:
        files.append(folder / f"{stem}-tiles{form}")
        save(results, files[-1])
    if geotiff or results[0].georeference is not None:
        files += write_raster(folder / f"{stem}-labels.tif", results)
    return files


def check_place(place: Georeference | None) -> None:
    """Refuses a table of an image that has no place.

    Raises:
        InputError: it is not known where on Earth the image lies.
    """
    if not is_on_earth(place):
        raise InputError("it is not known where on Earth the image lies: leave --gpkg and --geoparquet out")


def _vectors(results: Sequence[SpatialResult], geojson: bool, projected: bool) -> list[str]:
    """The suffixes of the forms in which outlines or boxes are written."""
    has_system = bool(results[0].crs)
    if not has_system and projected:
        raise InputError("the image has no coordinate system: leave --projected out")
    if is_placed(results):
        return [".geojson", *([".projected.geojson"] if projected else [])]
    return [".projected.geojson"] if has_system else [".json"] if geojson else []
