"""Georeferenced rasters through rasterio (the extra ``[geo]``), which is imported only where it is needed."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from rsvl.runtime.errors import InputError, MissingComponentError
from rsvl.runtime.extras import remedy
from rsvl.runtime.images.bands import choose_bands
from rsvl.runtime.images.rgb import to_rgb
from rsvl.runtime.images.stretch import PERCENTILES, Stretch
from rsvl.runtime.images.tiling import Window

#: Longest side, in pixels, of the thinned-out copy from which the stretch to 8 bits is found.
_SAMPLE_SIDE = 1024


@dataclass(frozen=True)
class Georeference:
    """Where an image lies on the ground, in plain values.

    Attributes:
        crs: ``EPSG:…``, or WKT for a system without a code.
        transform: (a, b, c, d, e, f) with x = a·column + b·row + c and y = d·column + e·row + f, in the order of
            ``affine.Affine``; columns and rows count from the upper left corner of the upper left pixel.
        metres: length of the system's unit in metres; None when it is an angle.
    """

    crs: str
    transform: tuple[float, float, float, float, float, float]
    metres: float | None = None

    def to_world(self, points: np.ndarray) -> np.ndarray:
        """Turns pixel coordinates (x, y) [..., 2] into the system's own, float64 [..., 2]."""
        a, b, c, d, e, f = self.transform
        return np.asarray(points, np.float64) @ np.array([[a, d], [b, e]]) + np.array([c, f])

    @property
    def pixel_area(self) -> float | None:
        """Area of a pixel in square metres; None when the system's unit is an angle."""
        a, b, _, d, e, _ = self.transform
        return None if self.metres is None else abs(a * e - b * d) * self.metres**2


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
        raise MissingComponentError(f"georeferenced images need rasterio: {remedy('rasterio')}") from error
    return module


class RasterScene:
    """A TIFF read whole or by windows, as 8-bit RGB by the rules of `rsvl.runtime.images.reading`.

    The file is opened when first read and closed by `close`; reading again opens it again.

    Attributes:
        path: the file.
        bands: the numbers, from 1, of the bands that are shown (`rsvl.runtime.images.bands`): three, or one.
        gray: whether it is shown without colour.
        height: rows.
        width: columns.
        georeference: where it lies, None without a coordinate system.
    """

    def __init__(
        self, path: Path, bands: Sequence[str | int] = (), percentiles: tuple[float, float] = PERCENTILES
    ) -> None:
        """Opens a file.

        Args:
            path: the file.
            bands: which bands to show, by name or number; none for the usual ones.
            percentiles: between which to stretch what is not 8-bit.

        Raises:
            InputError: not a readable TIFF, a band that it has not, complex values, or bands of which nothing says
                which to show.
            MissingComponentError: rasterio is not installed.
        """
        self.path, self._percentiles = path, percentiles
        self._open: Any = None
        dataset = self._dataset
        self.height, self.width = int(dataset.height), int(dataset.width)
        self.georeference = _georeference(dataset)
        colours = [colour.name for colour in dataset.colorinterp]
        try:
            self.bands = choose_bands(dataset.count, bands, dataset.descriptions, colours, str(path))
            _check_real(path, {dataset.dtypes[number - 1] for number in self.bands})
        except InputError:
            self.close()
            raise
        self._palette = _palette(dataset)
        self.gray = len(self.bands) == 1 and self._palette is None
        self._masked = any(flag.name != "all_valid" for flags in dataset.mask_flag_enums for flag in flags)

    @property
    def _dataset(self) -> Any:
        if self._open is None:
            module = rasterio()
            with warnings.catch_warnings(), _reported(self.path):
                warnings.simplefilter("ignore", module.errors.NotGeoreferencedWarning)
                self._open = module.open(self.path, driver="GTiff")
        return self._open

    def close(self) -> None:
        """Closes the file."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def read(self, window: Window | None = None) -> np.ndarray:
        """Reads the scene or a window of it.

        Returns:
            uint8 [h, w, 3].

        Raises:
            InputError: the file is truncated or damaged.
        """
        return self._rgb(self._read(window=_rasterio_window(window)))

    def valid(self, window: Window | None = None) -> np.ndarray | None:
        """Which pixels hold data: bool [h, w] by the nodata value, mask or alpha band; None when all do."""
        if not self._masked:
            return None
        with _reported(self.path):
            return self._dataset.dataset_mask(window=_rasterio_window(window)) > 0

    def thumbnail(self, side: int) -> np.ndarray:
        """Reads the scene thinned out so that its longer side has at most `side` pixels: uint8 [h, w, 3]."""
        return self._rgb(self._read(out_shape=(len(self.bands), *self._thinned(side))))

    @cached_property
    def _stretch(self) -> Stretch | None:
        if self._dataset.dtypes[self.bands[0] - 1] == "uint8":
            return None
        shape = self._thinned(_SAMPLE_SIDE)
        sample = np.moveaxis(self._read(out_shape=(len(self.bands), *shape)), 0, 2)
        with _reported(self.path):
            valid = self._dataset.dataset_mask(out_shape=shape) > 0
        return Stretch.of(sample, valid, self._percentiles)

    def _thinned(self, side: int) -> tuple[int, int]:
        factor = max(1.0, max(self.height, self.width) / side)
        return max(1, round(self.height / factor)), max(1, round(self.width / factor))

    def _read(self, **options: Any) -> np.ndarray:
        with _reported(self.path):
            return self._dataset.read(list(self.bands), **options)

    def _rgb(self, planes: np.ndarray) -> np.ndarray:
        if self._palette is not None:
            return self._palette[planes[0]]
        return np.ascontiguousarray(to_rgb(np.moveaxis(planes, 0, 2), self._stretch))


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    """Turns rasterio's errors inside the block into an `InputError` that names the file."""
    try:
        yield
    except rasterio().errors.RasterioError as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise InputError(f"{path}: damaged or unreadable TIFF ({reason})") from error


def _check_real(path: Path, types: set[str]) -> None:
    wrong = sorted(name for name in types if name.startswith("complex"))
    if wrong:
        raise InputError(f"{path}: its values are {wrong[0]}: write their amplitude to a file of its own and give that")


def _georeference(dataset: Any) -> Georeference | None:
    if dataset.crs is None:
        return None
    authority = dataset.crs.to_authority()
    crs = ":".join(authority) if authority else dataset.crs.to_wkt()
    metres = float(dataset.crs.linear_units_factor[1]) if dataset.crs.is_projected else None
    a, b, c, d, e, f = (float(v) for v in tuple(dataset.transform)[:6])
    return Georeference(crs, (a, b, c, d, e, f), metres)


def _palette(dataset: Any) -> np.ndarray | None:
    """The colours of a paletted file, uint8 [256, 3]; None for any other."""
    if dataset.colorinterp[0].name != "palette" or dataset.dtypes[0] != "uint8":
        return None
    colours = dataset.colormap(1)
    return np.array([colours.get(value, (0, 0, 0))[:3] for value in range(256)], np.uint8)


def _rasterio_window(window: Window | None) -> Any:
    if window is None:
        return None
    return rasterio().windows.Window(window.column, window.row, window.width, window.height)
