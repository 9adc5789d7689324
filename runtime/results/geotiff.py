"""Masks as the bands of a GeoTIFF, through rasterio."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rsvl.runtime.atomic import replacing
from rsvl.runtime.errors import OutputError
from rsvl.runtime.images.raster import Georeference, rasterio


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
    if georeference is not None:
        profile |= {"crs": georeference.crs, "transform": module.Affine(*georeference.transform)}
    with replacing(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore", module.errors.NotGeoreferencedWarning)
        try:
            with module.open(temporary, "w", **profile) as dataset:
                for band, (mask, name) in enumerate(zip(masks, names, strict=True), start=1):
                    dataset.write(mask.view(np.uint8), band)
                    dataset.set_band_description(band, name)
        except module.errors.RasterioError as error:
            raise OutputError(f"{path}: cannot be written ({error}): check folder and free space") from error
