"""A finished scene: its image, what is in it, and the sentences that refer to one of those things or none."""

from dataclasses import dataclass, field

import cv2
import numpy as np

#: Objects with fewer visible pixels than this, or less visible than this share, are never described.
MIN_PIXELS, MIN_VISIBLE = 24, 0.5


@dataclass(frozen=True)
class SceneObject:
    """One labelled object.

    Attributes:
        category: name in the catalogue.
        colour: its colour word, or None where colour does not describe the category.
        variant: subtype ("car", "truck", …) or "".
        mask: visible pixels, bool [H, W].
        bbox: x, y, width, height of the mask, pixels.
        obb: centre x, centre y, length, width (pixels), angle (degrees, clockwise from the x axis): the whole object.
        area: visible pixels.
        visible: visible share of the whole silhouette, 0–1.
        colour_clear: whether it shows that colour in the image; shade or few pixels can hide it.
    """

    category: str
    colour: str | None
    variant: str
    mask: np.ndarray
    bbox: tuple[float, float, float, float]
    obb: tuple[float, float, float, float, float]
    area: int
    visible: float
    colour_clear: bool = True

    @property
    def clear(self) -> bool:
        """Whether enough of it is seen to speak of it."""
        return self.area >= MIN_PIXELS and self.visible >= MIN_VISIBLE

    @property
    def centre(self) -> tuple[float, float]:
        """Centre of the horizontal box, pixels."""
        x, y, w, h = self.bbox
        return x + w / 2, y + h / 2


@dataclass(frozen=True)
class Expression:
    """A sentence and what it names.

    Attributes:
        text: the sentence.
        target: index into the scene's objects, or None when nothing in the scene fits.
        kind: what it speaks of besides the category: "category", "colour", "size", "position", "relation", or two of
            these joined by "+".
        program: the sentence's meaning as clauses, e.g. ("colour", "white"), ("zone", "top left"),
            ("left of", landmark index).
    """

    text: str
    target: int | None
    kind: str
    program: tuple[tuple[str, object], ...] = ()


@dataclass(frozen=True)
class Scene:
    """A labelled scene.

    Attributes:
        image: uint8 [H, W, 3] RGB.
        objects: labelled objects, visible ones only.
        expressions: sentences, each true of exactly one object or of none.
        setting: the kind of place.
        gsd: ground sampling distance, metres a pixel.
        water: bool [H, W], where the ground is open water, whatever floats on it or spans it.
        sar: uint8 [H, W], the same scene as a radar sees it, when it was asked for.
    """

    image: np.ndarray
    objects: tuple[SceneObject, ...]
    expressions: tuple[Expression, ...]
    setting: str
    gsd: float
    water: np.ndarray
    sar: np.ndarray | None = field(default=None)


def bounding_box(mask: np.ndarray) -> tuple[float, float, float, float]:
    """Return x, y, width, height of a non-empty mask."""
    x, y, w, h = cv2.boundingRect(mask.view(np.uint8))
    return float(x), float(y), float(w), float(h)
