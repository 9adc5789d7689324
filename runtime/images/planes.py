"""The values of an image as they are stored, band by band, behind one small interface for every kind of source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from rsvl.runtime.images.georeference import Georeference
from rsvl.runtime.images.tiling import Window

#: The orientation tag (TIFF 6.0, EXIF): whether rows and columns change places, then which are turned round.
_ORIENTATIONS = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


@dataclass(frozen=True)
class Facts:
    """What a source says of an image before a pixel is read.

    Attributes:
        name: the image, for messages.
        kind: what kind of file or object it is.
        height: rows.
        width: columns.
        count: bands, an alpha among them.
        dtype: of the values.
        bits: how many bits of an integer are used.
        descriptions: what each band is called, or None.
        colours: how each band is labelled, such as ``red`` or ``alpha``; empty where that is not known.
        wavelengths: each band's centre in nanometres, or None.
        nodata: each band's value that means "no data", or None.
        has_true_alpha: whether an alpha is one for sure, as in a PNG; a raster's may be anything.
        inverted: whether the lowest value is white.
        is_sar: whether the file says that a SAR took it.
        about: the file's name and tags, in which a satellite may be named.
        georeference: where it lies, None where that is not known.
        notes: what is to be told of the source.
    """

    name: str
    kind: str
    height: int
    width: int
    count: int
    dtype: np.dtype
    bits: int
    descriptions: tuple[str | None, ...] = ()
    colours: tuple[str, ...] = ()
    wavelengths: tuple[float | None, ...] = ()
    nodata: tuple[float | None, ...] = ()
    has_true_alpha: bool = False
    inverted: bool = False
    is_sar: bool = False
    about: str = ""
    georeference: Georeference | None = None
    notes: tuple[str, ...] = ()


class Planes(Protocol):
    """An image's values, read whole, in part or thinned out."""

    facts: Facts

    def read(
        self, bands: Sequence[int], window: Window | None = None, shape: tuple[int, int] | None = None
    ) -> np.ndarray:
        """Values of bands, by number from 1: [h, w, bands] of `facts.dtype`.

        Args:
            bands: which.
            window: only this part.
            shape: thinned out to so many rows and columns, by the nearest pixel.
        """

    def mask(self, window: Window | None = None, shape: tuple[int, int] | None = None) -> np.ndarray | None:
        """Which pixels the file's own mask calls valid, bool [h, w]; None without a mask."""

    def close(self) -> None:
        """Releases the file, if there is one; reading again opens it again."""


class ArrayPlanes:
    """Values in memory, [H, W, C]."""

    def __init__(self, values: np.ndarray, facts: Facts) -> None:
        self._values, self.facts = values, facts

    def read(
        self, bands: Sequence[int], window: Window | None = None, shape: tuple[int, int] | None = None
    ) -> np.ndarray:
        """See `Planes.read`; a view where the bands are neighbours."""
        values = self._values if window is None else self._values[window.slices]
        if shape is not None:
            rows, columns = (nearest(size, wanted) for size, wanted in zip(values.shape[:2], shape, strict=True))
            values = values[rows[:, None], columns]
        first = bands[0] - 1
        if list(bands) == list(range(first + 1, first + 1 + len(bands))):
            return values[:, :, first : first + len(bands)]
        return values[:, :, [band - 1 for band in bands]]

    def mask(self, window: Window | None = None, shape: tuple[int, int] | None = None) -> None:
        """See `Planes.mask`: there is none."""

    def close(self) -> None:
        """See `Planes.close`: nothing to release."""


class OrientedPlanes:
    """Another image's values, turned as its orientation tag says."""

    def __init__(self, planes: Planes, orientation: int) -> None:
        self._planes = planes
        self._swap, self._flip_rows, self._flip_columns = _ORIENTATIONS[orientation]
        height, width = self._swapped(planes.facts.height, planes.facts.width)
        self.facts = replace(planes.facts, height=height, width=width)

    def read(
        self, bands: Sequence[int], window: Window | None = None, shape: tuple[int, int] | None = None
    ) -> np.ndarray:
        """See `Planes.read`."""
        return self._turned(self._planes.read(bands, self._stored(window), shape and self._swapped(*shape)))

    def mask(self, window: Window | None = None, shape: tuple[int, int] | None = None) -> np.ndarray | None:
        """See `Planes.mask`."""
        mask = self._planes.mask(self._stored(window), shape and self._swapped(*shape))
        return None if mask is None else self._turned(mask)

    def close(self) -> None:
        """See `Planes.close`."""
        self._planes.close()

    def _swapped(self, rows: int, columns: int) -> tuple[int, int]:
        return (columns, rows) if self._swap else (rows, columns)

    def _stored(self, window: Window | None) -> Window | None:
        """Where a window lies in the image as it is stored."""
        if window is None:
            return None
        row, column, height, width = window
        if self._flip_rows:
            row = self.facts.height - row - height
        if self._flip_columns:
            column = self.facts.width - column - width
        return Window(column, row, width, height) if self._swap else Window(row, column, height, width)

    def _turned(self, values: np.ndarray) -> np.ndarray:
        if self._swap:
            values = values.swapaxes(0, 1)
        return values[:: -1 if self._flip_rows else 1, :: -1 if self._flip_columns else 1]


def nearest(size: int, wanted: int) -> np.ndarray:
    """The indices that thin `size` pixels out to `wanted`, as GDAL's nearest-neighbour does."""
    return ((np.arange(wanted) + 0.5) * (size / wanted)).astype(np.int64)


def is_orientation(value: int) -> bool:
    """Whether an orientation tag's value turns an image."""
    return value in _ORIENTATIONS
