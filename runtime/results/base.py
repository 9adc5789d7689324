"""What all results share: their forms for programs and for people, and where they lie in an image."""

from __future__ import annotations

import textwrap
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from rsvl.runtime.results.contours import Polygon

if TYPE_CHECKING:
    from PIL import Image

    from rsvl.runtime.images.georeference import Georeference
    from rsvl.runtime.images.notes import Reading
    from rsvl.runtime.images.scene import Scene


class Result(ABC):
    """What a model answers to one sentence, question or set of labels.

    Attributes:
        readings: how the images were read, and what of that was guessed.
    """

    readings: Sequence[Reading] = ()

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Plain values ready for JSON."""

    @abstractmethod
    def lines(self) -> list[str]:
        """The same for people, one line or a few."""


class Part(NamedTuple):
    """One thing on a map.

    Attributes:
        score: the model's confidence, 0…1; of a mask's object the mean probability inside.
        area: in pixels.
        polygons: its outlines.
        peak: the largest probability inside; None for a box.
        label: what a tile shows; empty for anything else.
        tolerance: how far the outlines that are written may stray from these to have fewer corners, in pixels.
    """

    score: float
    area: float
    polygons: Sequence[Polygon]
    peak: float | None = None
    label: str = ""
    tolerance: float = 0.0

    @property
    def drawn(self) -> Sequence[Polygon]:
        """The outlines that are written.

        Raises:
            MissingComponentError: they are to be simplified, and shapely is not installed.
        """
        from rsvl.runtime.results.simplify import simplified

        return [simplified(polygon, self.tolerance) for polygon in self.polygons]


def thinned(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """A mask, bool [H, W], at another size by its nearest pixels, bool [height, width]."""
    if mask.shape == (height, width):
        return mask
    from PIL import Image

    return np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))


class SpatialResult(Result):
    """A result that lies in an image; a frozen dataclass with these fields and properties.

    Attributes:
        shapes: what its parts are called in names of files.
        text: the sentence.
        score: the model's confidence, 0…1; 0 where nothing was found.
        mask: bool [H, W], or None for a result that has none.
        outlines: closed polygons float [K, 2] of (x, y) to draw.
        parts: what a map shows of it; nothing where nothing was found.
        size: the image's (height, width).
        georeference: coordinate system and transform of the image, None when it has none.
        scene: the image, for overlays.
    """

    shapes: ClassVar[str] = "boxes"

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

    @property
    def readings(self) -> Sequence[Reading]:  # type: ignore[override]
        """How the image was read; nothing where it is not known."""
        reading = getattr(self.scene, "reading", None)
        return () if reading is None else (reading,)

    def lines(self) -> list[str]:
        """The score, the sentence and where it is."""
        if not self.found:
            no_data = any(reading.is_void for reading in self.readings)
            return [f"{'no pixel held data' if no_data else 'not found'}  {shortened(self.text)}"]
        return [f"{self.score:.2f}  {shortened(self.text)}: {self.place()}"]

    def thinned_mask(self, height: int, width: int) -> np.ndarray | None:
        """The mask at a smaller size, bool [height, width]; None for a result that has none."""
        return None if self.mask is None else thinned(self.mask, height, width)

    @abstractmethod
    def place(self) -> str:
        """Where it is, in a few words for people; asked only of a result that was found."""

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
        from rsvl.runtime.results import overlay

        return overlay.draw([self], side)

    def save(self, path: str | Path) -> None:
        """Writes this result, see `rsvl.runtime.results.saving.save`."""
        from rsvl.runtime.results.saving import save

        save([self], path)


def shortened(text: str) -> str:
    """A text that fits a line."""
    return textwrap.shorten(text, 100, placeholder=" …")
