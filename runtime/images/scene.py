"""What is segmented: an image in memory or a georeferenced file on disk, behind one small interface."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from rsvl.runtime.extras import remedy
from rsvl.runtime.images import raster
from rsvl.runtime.images.reading import ImageSource, asked_of, existing_file, is_tiff, read_image, warn_of_gray
from rsvl.runtime.images.tiling import Window
from rsvl.runtime.manifest import ImageSpec

#: The TIFF tag that holds a GeoTIFF's keys.
_GEO_KEYS = 34735


class Scene(Protocol):
    """An image that can be read in part.

    Attributes:
        height: rows.
        width: columns.
        georeference: where it lies on the ground, if that is known.
    """

    height: int
    width: int
    georeference: raster.Georeference | None

    def read(self, window: Window | None = None) -> np.ndarray:
        """The pixels of the scene or of a window, uint8 [h, w, 3]."""

    def valid(self, window: Window | None = None) -> np.ndarray | None:
        """Which pixels hold data, bool [h, w]; None when all do."""

    def thumbnail(self, side: int) -> np.ndarray:
        """The scene with at most `side` pixels on its longer side, uint8 [h, w, 3]."""

    def close(self) -> None:
        """Releases the file, if there is one. The scene may be read again."""


class ArrayScene:
    """An image in memory, uint8 [H, W, 3], all of it valid."""

    georeference: raster.Georeference | None = None

    def __init__(self, pixels: np.ndarray) -> None:
        self._pixels = pixels
        self.height, self.width = pixels.shape[:2]

    def read(self, window: Window | None = None) -> np.ndarray:
        """See `Scene.read`; a view of the pixels."""
        return self._pixels if window is None else self._pixels[window.slices]

    def valid(self, window: Window | None = None) -> None:
        """See `Scene.valid`: all pixels hold data."""

    def thumbnail(self, side: int) -> np.ndarray:
        """See `Scene.thumbnail`."""
        if max(self.height, self.width) <= side:
            return self._pixels
        image = Image.fromarray(self._pixels)
        image.thumbnail((side, side))
        return np.asarray(image)

    def close(self) -> None:
        """See `Scene.close`: nothing to release."""


def open_scene(source: ImageSource | Scene, spec: ImageSpec | None = None) -> Scene:
    """Opens an image for segmentation.

    A TIFF is read by windows through rasterio where that is installed, so that memory does not grow with its size;
    anything else is read whole (300 MB for 10 000 × 10 000 pixels).

    Args:
        source: what `rsvl.runtime.images.reading.read_image` takes, or a scene, which knows its own bands.
        spec: the model's image input, as for `read_image`.

    Raises:
        InputError: as for `read_image`.
    """
    if not isinstance(source, str | Path | np.ndarray | Image.Image) and hasattr(source, "georeference"):
        return source
    if isinstance(source, str | Path):
        path = existing_file(source)
        if is_tiff(path):
            if raster.available():
                scene = raster.RasterScene(path, *asked_of(spec))
                if scene.gray:
                    warn_of_gray(str(path), spec)
                return scene
            _warn_of_lost_reference(path)
    return ArrayScene(read_image(source, spec))  # type: ignore[arg-type]


def _warn_of_lost_reference(path: Path) -> None:
    try:
        with Image.open(path) as image:
            lost = _GEO_KEYS in image.tag_v2  # type: ignore[attr-defined]
    except (OSError, AttributeError):
        return  # reading it will say what is wrong
    if lost:
        warnings.warn(f"{path}: its georeference is ignored: {remedy('rasterio')} to keep it", stacklevel=3)
