"""Rasters of results as cloud optimized GeoTIFFs, written window by window, through rasterio."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from rsvl.runtime.atomic import replacing
from rsvl.runtime.errors import OutputError
from rsvl.runtime.images.georeference import Georeference
from rsvl.runtime.images.raster import rasterio, writable_name
from rsvl.runtime.images.tiling import Window
from rsvl.runtime.temporary import LockedFolder

#: The value of a mask's pixel that holds no data; 1 is inside, 0 outside.
NODATA = 255
#: Side of the files' own tiles: windows on multiples of it are written once.
TILE = 512
_UNFINISHED = ".rsvl-raster-"
#: From so many values on a copy takes seconds.
_LONG = 1 << 26
_COPY = "import json, sys, rasterio.shutil as r; r.copy(sys.argv[1], sys.argv[2], **json.loads(sys.argv[3]))"


class RasterWriter:
    """A raster that is open for writing; see `open_writer`."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def write(self, band: int, window: Window, values: np.ndarray) -> None:
        """Writes a window of a band, counted from 1."""
        place = rasterio().windows.Window(window.column, window.row, window.width, window.height)
        self._dataset.write(values, band, window=place)


@contextmanager
def open_writer(
    path: str | Path,
    size: tuple[int, int],
    names: Sequence[str],
    georeference: Georeference | None,
    dtype: str = "uint8",
    nodata: float = NODATA,
) -> Iterator[RasterWriter]:
    """Opens a raster to write; when the block ends it takes its place as a cloud optimized GeoTIFF, with overviews.

    Args:
        path: the file, replaced when it exists.
        size: height and width.
        names: the bands' descriptions.
        georeference: the image's; without one a plain TIFF is written.
        dtype: of the values.
        nodata: the value that means "no data".

    Raises:
        MissingComponentError: rasterio is not installed.
        OutputError: the file cannot be written; nothing is left behind.
    """
    module = rasterio()
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "height": size[0],
        "width": size[1],
        "count": len(names),
        "dtype": dtype,
    }
    profile |= {"tiled": True, "blockxsize": TILE, "blockysize": TILE, "interleave": "band", "nodata": nodata}
    profile |= {"compress": "deflate", "zlevel": 1, "bigtiff": "if_safer", "sparse_ok": True}
    if georeference is not None and georeference.transform is not None:
        profile |= {"crs": georeference.crs or None, "transform": module.Affine(*georeference.transform)}
    options = {"driver": "COG", "compress": "DEFLATE", "blocksize": TILE, "bigtiff": "IF_SAFER"}
    options |= {"overview_resampling": "NEAREST"}
    with replacing(path) as temporary, writable_name(temporary) as name, warnings.catch_warnings():
        warnings.simplefilter("ignore", module.errors.NotGeoreferencedWarning)
        with (
            LockedFolder(_UNFINISHED, temporary.parent) as folder,
            writable_name(folder.path / "raster.tif") as unfinished,
        ):
            try:
                with module.open(unfinished, "w", **profile) as dataset:
                    _place(dataset, georeference)
                    for band, description in enumerate(names, start=1):
                        dataset.set_band_description(band, description)
                    yield RasterWriter(dataset)
                if size[0] * size[1] * len(names) > _LONG:
                    _copy_in_process(unfinished, name, options)
                else:
                    module.shutil.copy(unfinished, name, **options)
            except (module.errors.RasterioError, module._err.CPLE_BaseError) as error:
                raise OutputError(f"{path}: cannot be written ({error}): check folder and free space") from error


def _copy_in_process(source: str, target: str, options: dict[str, Any]) -> None:
    """Copies a raster in a process of its own, which ends with this one: GDAL does not stop for a signal.

    Raises:
        OutputError: it fails.
    """
    with subprocess.Popen(
        [sys.executable, "-c", _COPY, source, target, json.dumps(options)], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            _, errors = process.communicate()
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        reason = (errors.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
        raise OutputError(f"{target}: cannot be written ({reason}): check folder and free space")


def write_masks(
    path: str | Path,
    masks: Sequence[np.ndarray],
    names: Sequence[str],
    georeference: Georeference | None,
    valid: np.ndarray | None = None,
) -> None:
    """Writes masks as the bands of one GeoTIFF (uint8, 1 inside, 0 outside, 255 no data), with the image's reference.

    Args:
        path: the file, replaced when it exists.
        masks: bool [H, W] each.
        names: the bands' descriptions: the sentences.
        georeference: the image's; without one a plain TIFF is written.
        valid: which pixels hold data, bool [H, W]; None when all do.

    Raises:
        MissingComponentError: rasterio is not installed.
        OutputError: the file cannot be written.
    """
    height, width = masks[0].shape
    with open_writer(path, (height, width), names, georeference) as writer:
        for band, mask in enumerate(masks, start=1):
            values = mask.astype(np.uint8)
            if valid is not None:
                values[~valid] = NODATA
            writer.write(band, Window(0, 0, height, width), values)


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
