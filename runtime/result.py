"""What a segmentation gives: one class that the runtime returns, and that every output is made from."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rsvl.runtime import contours, geo, geojson, overlay
from rsvl.runtime.atomic import replacing
from rsvl.runtime.contours import Polygon
from rsvl.runtime.errors import UsageError
from rsvl.runtime.geo import Georeference
from rsvl.runtime.oriented_box import OrientedBox, oriented_box
from rsvl.runtime.scene import Scene

_PICTURES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
_RASTERS = (".tif", ".tiff")
_VECTORS = (".geojson", ".json")


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Where a sentence's object is in an image. All coordinates are pixel edges: the first pixel covers 0…1.

    Attributes:
        text: the sentence.
        mask: bool [H, W] at the image's own size; never true where the image has no data.
        score: mean probability inside the mask, 0…1; 0 if the mask is empty.
        threshold: the probability above which a pixel was taken into the mask.
        probability: float32 [H, W], 0…1; None for a tiled scene unless it was asked for.
        georeference: coordinate system and transform of the image, None when it has none.
        scene: the image, for pictures.
    """

    text: str
    mask: np.ndarray
    score: float
    threshold: float
    probability: np.ndarray | None = None
    georeference: Georeference | None = None
    scene: Scene | None = field(default=None, repr=False)

    @property
    def found(self) -> bool:
        """Whether any pixel belongs to the mask."""
        return self.box is not None

    @property
    def crs(self) -> str | None:
        """The image's coordinate system, ``EPSG:…`` or WKT."""
        return self.georeference.crs if self.georeference else None

    @property
    def transform(self) -> tuple[float, ...] | None:
        """The image's affine transform (a, b, c, d, e, f) from pixels to its coordinate system."""
        return self.georeference.transform if self.georeference else None

    @cached_property
    def area(self) -> int:
        """Number of pixels in the mask."""
        return int(np.count_nonzero(self.mask))

    @cached_property
    def box(self) -> tuple[int, int, int, int] | None:
        """The whole mask's bounds (x1, y1, x2, y2), None when nothing was found."""
        return contours.bounds(self.mask)

    @cached_property
    def oriented_box(self) -> OrientedBox | None:
        """The rectangle of least area around the whole mask, None when nothing was found."""
        return oriented_box(self.mask)

    @cached_property
    def polygons(self) -> tuple[Polygon, ...]:
        """The outline of each connected component, with its holes, the largest first."""
        return contours.polygons(self.mask)

    @property
    def polygon(self) -> np.ndarray | None:
        """The largest component's outline, int64 [K, 2] of (x, y), None when nothing was found."""
        return self.polygons[0].exterior if self.polygons else None

    @property
    def boxes(self) -> tuple[tuple[int, int, int, int], ...]:
        """Each connected component's bounds (x1, y1, x2, y2), in the order of `polygons`."""
        return tuple(polygon.box for polygon in self.polygons)

    def thumbnail(self, side: int) -> np.ndarray:
        """The image with at most `side` pixels on its longer side, uint8 [h, w, 3]; gray where it is not known."""
        if self.scene is None:
            return np.full((*self.mask.shape, 3), 128, np.uint8)
        try:
            return self.scene.thumbnail(side)
        finally:
            self.scene.close()

    def plot(self, side: int = 2048) -> Image.Image:
        """Draws the mask, its outline, oriented box and sentence over the image, at most `side` pixels long."""
        return overlay.draw([self], side)

    def save(self, path: str | Path) -> None:
        """Writes this segmentation, see `save`."""
        save([self], path)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the pixels, as JSON takes it."""
        return {
            "text": self.text,
            "found": self.found,
            "score": self.score,
            "threshold": self.threshold,
            "size": list(self.mask.shape[::-1]),
            "area": self.area,
            "box": list(self.box) if self.box else None,
            "oriented_box": list(self.oriented_box) if self.oriented_box else None,
            "boxes": [list(box) for box in self.boxes],
            "crs": self.crs,
            "transform": list(self.transform) if self.transform else None,
        }


def save(segmentations: list[Segmentation], path: str | Path) -> None:
    """Writes segmentations of one image to one file, by its suffix.

    - ``.png``, ``.jpg``, ``.webp``: the picture that `Segmentation.plot` draws, one colour a sentence;
    - ``.tif``: a GeoTIFF with one band a sentence, 1 inside and 0 outside, and the image's georeference;
    - ``.geojson``: one feature a sentence with text, score and area (`rsvl.runtime.geojson`).

    Raises:
        UsageError: another suffix, or no segmentation.
        MissingComponentError: a GeoTIFF without rasterio.
        OutputError: the file cannot be written; nothing is left behind.
    """
    suffix = Path(path).suffix.lower()
    if not segmentations:
        raise UsageError("there is no segmentation to save")
    if suffix in _PICTURES:
        picture = overlay.draw(segmentations)
        with replacing(path) as temporary:
            picture.save(temporary, _PICTURES[suffix])
    elif suffix in _RASTERS:
        masks, names = [s.mask for s in segmentations], [s.text for s in segmentations]
        geo.write_masks(path, masks, names, segmentations[0].georeference)
    elif suffix in _VECTORS:
        geojson.write(path, segmentations)
    else:
        known = ", ".join([*_PICTURES, *_RASTERS, *_VECTORS])
        raise UsageError(f"{path}: cannot tell what to write from its suffix: use one of {known}")
