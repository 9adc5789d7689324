"""Georeferenced rasters through rasterio (the extra ``[geo]``), which is imported only where it is needed."""

from __future__ import annotations

import importlib.util
import warnings
from functools import cached_property
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import numpy as np

from rsvl.runtime.errors import InputError, MissingComponentError
from rsvl.runtime.image import Stretch, to_rgb

#: Longest side, in pixels, of the thinned-out copy from which a stretch of the values is found.
_SAMPLE_SIDE = 1024


def available() -> bool:
    """Whether rasterio is installed (it is not imported)."""
    return importlib.util.find_spec("rasterio") is not None


def rasterio() -> ModuleType:
    """The rasterio module.

    Raises:
        MissingComponentError: it is not installed.
    """
    try:
        import rasterio as module
    except ImportError as error:
        raise MissingComponentError("georeferenced images need rasterio: pip install 'rsvl[geo]'") from error
    return module


class RasterFile:
    """A GeoTIFF opened for reading whole or by windows, as 8-bit RGB (rules: `rsvl.runtime.image`).

    Attributes:
        path: the file.
        height: rows.
        width: columns.
    """

    def __init__(self, path: Path) -> None:
        module = rasterio()
        self.path = path
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", module.errors.NotGeoreferencedWarning)
                self._dataset: Any = module.open(path, driver="GTiff")
        except module.errors.RasterioError as error:
            raise InputError(f"{path}: damaged or unreadable TIFF ({error})") from error
        self.height, self.width = int(self._dataset.height), int(self._dataset.width)
        if self._dataset.count > 4:
            self._dataset.close()
            raise InputError(
                f"{path}: {self._dataset.count} bands, an image has 1 to 4: choose three "
                "(gdal_translate -b 4 -b 3 -b 2 IN OUT)"
            )

    def __enter__(self) -> RasterFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._dataset.close()

    @cached_property
    def _stretch(self) -> Stretch | None:
        if self._dataset.dtypes[0] == "uint8":
            return None
        factor = max(1.0, max(self.height, self.width) / _SAMPLE_SIDE)
        shape = (max(1, round(self.height / factor)), max(1, round(self.width / factor)))
        sample = np.moveaxis(self._read(out_shape=(len(self._bands), *shape)), 0, 2)
        valid = self._dataset.dataset_mask(out_shape=shape) > 0
        return Stretch.of(sample, valid)

    @cached_property
    def _bands(self) -> list[int]:
        return [1] if self._dataset.count < 3 else [1, 2, 3]

    def _read(self, **options: Any) -> np.ndarray:
        try:
            return self._dataset.read(self._bands, **options)
        except rasterio().errors.RasterioError as error:
            raise InputError(f"{self.path}: damaged or unreadable TIFF ({error})") from error

    def read(self, window: tuple[int, int, int, int] | None = None) -> np.ndarray:
        """Reads the image or a window (row, column, height, width) of it as uint8 [h, w, 3].

        Raises:
            InputError: the file is truncated or damaged.
        """
        planes = self._read(window=_rasterio_window(window))
        return np.ascontiguousarray(to_rgb(np.moveaxis(planes, 0, 2), self._stretch))


def _rasterio_window(window: tuple[int, int, int, int] | None) -> Any:
    if window is None:
        return None
    row, column, height, width = window
    return rasterio().windows.Window(column, row, width, height)
