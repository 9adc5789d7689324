"""Masks as the bands of a GeoTIFF, through rasterio."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rsvl.runtime.atomic import replacing
from rsvl.runtime.errors import OutputError
from rsvl.runtime.images.georeference import Georeference
from rsvl.runtime.images.raster import rasterio, writable_name


def write_masks(
    path: str | Path, masks: Sequence[np.ndarray], names: Sequence[str], georeference: Georeference | None
) -> None:
    """Writes masks as the bands of one GeoTIFF (uint8, 1 inside, 0 outside, deflated), with the image's reference.

    Args:
        path: the file, replaced when it exists.
        masks: bool [H, W] each.
        names: the bands' descriptions: the sentences.
        georeference: the image's; without one a plain TIFF is written.

    Raises:
        MissingComponentError: rasterio is not installed.
        OutputError: the file cannot be written.
    """
    module = rasterio()
    height, width = masks[0].shape
    profile: dict[str, Any] = {"driver": "GTiff", "height": height, "width": width, "count": len(masks)}
    profile |= {"dtype": "uint8", "compress": "deflate", "tiled": True, "blockxsize": 256, "blockysize": 256}
    if georeference is not None and georeference.transform is not None:
        profile |= {"crs": georeference.crs or None, "transform": module.Affine(*georeference.transform)}
    with replacing(path) as temporary, writable_name(temporary) as name_of_file, warnings.catch_warnings():
        warnings.simplefilter("ignore", module.errors.NotGeoreferencedWarning)
        try:
            with module.open(name_of_file, "w", **profile) as dataset:
                _place(dataset, georeference)
                for band, (mask, name) in enumerate(zip(masks, names, strict=True), start=1):
                    dataset.write(mask.view(np.uint8), band)
                    dataset.set_band_description(band, name)
        except module.errors.RasterioError as error:
            raise OutputError(f"{path}: cannot be written ({error}): check folder and free space") from error


def _place(dataset: Any, georeference: Georeference | None) -> None:
    """Gives an open dataset the image's ground control points or RPCs."""
    if georeference is None or georeference.transform is not None:
        return
    if georeference.rpcs is not None:
        dataset.rpcs = georeference.rpcs
        return
    from rasterio.control import GroundControlPoint
    from rasterio.crs import CRS

    points = [GroundControlPoint(p.row, p.column, p.x, p.y, p.z) for p in georeference.points]
    dataset.gcps = points, CRS.from_user_input(georeference.crs)
