"""What lies somewhere in an image: what all such results share, and the files they are written to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from rsvl.runtime import geo, geojson, overlay
from rsvl.runtime.atomic import replacing
from rsvl.runtime.contours import Polygon
from rsvl.runtime.errors import UsageError
from rsvl.runtime.geo import Georeference
from rsvl.runtime.scene import Scene

_PICTURES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
_RASTERS = (".tif", ".tiff")
_VECTORS = (".geojson", ".json")


class Part(NamedTuple):
    """One thing on a map: its score, its area in pixels and its outlines, none where nothing was found."""

    score: float
    area: float
    polygons: Sequence[Polygon]


class Located:
    """A result that lies in an image; a frozen dataclass with these fields and properties.

    Attributes:
        text: the sentence.
        score: how sure the model is, 0…1; 0 where nothing was found.
        mask: bool [H, W], or None for a result that has none.
        outlines: closed polygons float [K, 2] of (x, y) to draw.
        parts: what a map shows of it, at least one.
        size: the image's (height, width).
        georeference: coordinate system and transform of the image, None when it has none.
        scene: the image, for pictures.
    """

    text: str
    score: float
    mask: np.ndarray | None
    outlines: Sequence[np.ndarray]
    parts: Sequence[Part]
    size: tuple[int, int]
    georeference: Georeference | None
    scene: Scene | None

    @property
    def found(self) -> bool:
        """Whether anything was found."""
        return bool(self.outlines)

    @property
    def crs(self) -> str | None:
        """The image's coordinate system, ``EPSG:…`` or WKT."""
        return self.georeference.crs if self.georeference else None

    @property
    def transform(self) -> tuple[float, ...] | None:
        """The image's affine transform (a, b, c, d, e, f) from pixels to its coordinate system."""
        return self.georeference.transform if self.georeference else None

    def thumbnail(self, side: int) -> np.ndarray:
        """The image with at most `side` pixels on its longer side, uint8 [h, w, 3]; gray where it is not known."""
        if self.scene is None:
            return np.full((*self.size, 3), 128, np.uint8)
        try:
            return self.scene.thumbnail(side)
        finally:
            self.scene.close()

    def plot(self, side: int = 2048) -> Image.Image:
        """Draws what was found and the sentence over the image, at most `side` pixels long."""
        return overlay.draw([self], side)

    def save(self, path: str | Path) -> None:
        """Writes this result, see `save`."""
        save([self], path)


def save(results: Sequence[Located], path: str | Path) -> None:
    """Writes results of one image to one file, by its suffix.

    - ``.png``, ``.jpg``, ``.webp``: the picture that `Located.plot` draws, one colour a sentence;
    - ``.tif``: a GeoTIFF with one band a sentence, 1 inside and 0 outside, and the image's georeference (masks only);
    - ``.geojson``: one feature a mask or box with text, score and area (`rsvl.runtime.geojson`).

    Raises:
        UsageError: another suffix, no result, or a GeoTIFF of results without masks.
        MissingComponentError: a GeoTIFF without rasterio.
        OutputError: the file cannot be written; nothing is left behind.
    """
    suffix = Path(path).suffix.lower()
    if not results:
        raise UsageError("there is no result to save")
    if suffix in _PICTURES:
        picture = overlay.draw(results)
        with replacing(path) as temporary:
            picture.save(temporary, _PICTURES[suffix])
    elif suffix in _RASTERS:
        masks = [result.mask for result in results if result.mask is not None]
        if len(masks) != len(results):
            raise UsageError(f"{path}: boxes are no masks: write them to .geojson or a picture")
        geo.write_masks(path, masks, [result.text for result in results], results[0].georeference)
    elif suffix in _VECTORS:
        geojson.write(path, results)
    else:
        known = ", ".join([*_PICTURES, *_RASTERS, *_VECTORS])
        raise UsageError(f"{path}: cannot tell what to write from its suffix: use one of {known}")
