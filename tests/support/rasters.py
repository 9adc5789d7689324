"""Small raster files."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

UTM = (10.0, 0.0, 500_000.0, 0.0, -10.0, 4_000_000.0)


def write_raster(
    path: Path,
    cube: np.ndarray,
    crs: str | None = None,
    transform: Sequence[float] | None = None,
    descriptions: Sequence[str] = (),
    **options: Any,
) -> Path:
    """Writes [H, W] or [H, W, C] by rasterio, as a GeoTIFF unless a `driver` is named.

    Args:
        path: the file.
        cube: the values.
        crs: the coordinate system; None for a file without one.
        transform: None for `UTM` with a coordinate system, and none without one.
        descriptions: of the bands.
        **options: of the driver.
    """
    rasterio = pytest.importorskip("rasterio")
    cube = cube[:, :, None] if cube.ndim == 2 else cube
    height, width, count = cube.shape
    profile = {"driver": "GTiff", "height": height, "width": width, "count": count, "dtype": cube.dtype, **options}
    if crs is not None:
        profile["crs"] = crs
    if crs is not None or transform is not None:
        profile["transform"] = rasterio.Affine(*(transform or UTM))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, "w", **profile) as dataset:
            dataset.write(cube.transpose(2, 0, 1))
            for number, description in enumerate(descriptions, start=1):
                dataset.set_band_description(number, description)
    return path
