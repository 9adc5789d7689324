"""A view of an image: a part of it, turned, mirrored, coarser or in other colours, to train on more than there is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class View:
    """What is done to an image, in this order: cut out, mirrored, turned, reduced, recoloured.

    Attributes:
        window: left, top, width, height of the part that is seen, pixels of the image.
        mirrored: whether left and right change places.
        quarter_turns: by 90° counter-clockwise, 0 to 3.
        reduction: how many pixels of the image become one along a side, at least 1: a coarser ground resolution.
        gains: factors of red, green and blue.
        offset: added to every value after that, levels of 255.
    """

    window: tuple[int, int, int, int]
    mirrored: bool = False
    quarter_turns: int = 0
    reduction: float = 1.0
    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)
    offset: float = 0.0

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of what is seen, pixels."""
        width, height = (max(1, round(side / self.reduction)) for side in self.window[2:])
        return (height, width) if self.quarter_turns % 2 else (width, height)

    def pixels(self, image: np.ndarray) -> np.ndarray:
        """The view of an image, uint8 [H, W, 3] in both.

        Raises:
            ValueError: the window leaves the image.
        """
        left, top, width, height = self.window
        if min(left, top) < 0 or left + width > image.shape[1] or top + height > image.shape[0]:
            raise ValueError(f"a window of {width}x{height} at {left}, {top} leaves the image")
        seen = image[top : top + height, left : left + width]
        seen = np.rot90(seen[:, ::-1] if self.mirrored else seen, self.quarter_turns)
        if seen.shape[1::-1] != self.size:
            import cv2  # of training only: datasets are read without it

            seen = cv2.resize(np.ascontiguousarray(seen), self.size, interpolation=cv2.INTER_AREA)
        if self.gains != (1.0, 1.0, 1.0) or self.offset:
            seen = np.clip(np.rint(seen * np.array(self.gains) + self.offset), 0, 255).astype(np.uint8)
        return np.ascontiguousarray(seen)

    def points(self, points: np.ndarray) -> np.ndarray:
        """Where points of the image, float [N, 2] as x and y in pixels, lie in the view; they may lie outside of it."""
        left, top, width, height = self.window
        x, y = points[:, 0] - left, points[:, 1] - top
        if self.mirrored:
            x = width - x
        for _ in range(self.quarter_turns):
            x, y, width, height = y, width - x, height, width
        return np.stack([x * (self.size[0] / width), y * (self.size[1] / height)], axis=1)


def random_colours(rng: np.random.Generator, image: tuple[int, int]) -> View:
    """A whole image of a width and height in pixels, in other light."""
    return _recoloured(rng, View((0, 0, *image)))


def random_view(rng: np.random.Generator, image: tuple[int, int], least: float = 0.45, coarsest: float = 2.5) -> View:
    """A part of an image, turned and mirrored, in other light, half of the time at a coarser resolution.

    Args:
        rng: randomness.
        image: its width and height, pixels.
        least: the shortest side of the part, as a share of the image's shorter side.
        coarsest: the largest reduction.
    """
    shorter = min(image)
    side = shorter if rng.random() < 0.3 else max(1, round(shorter * rng.uniform(least, 1)))
    left, top = (int(rng.integers(length - side + 1)) for length in image)
    reduction = float(np.exp(rng.uniform(0, np.log(coarsest)))) if rng.random() < 0.5 else 1.0
    seen = View((left, top, side, side), bool(rng.random() < 0.5), int(rng.integers(4)), reduction)
    return _recoloured(rng, seen)


def _recoloured(rng: np.random.Generator, view: View) -> View:
    brightness, tints = np.exp(rng.normal(0, 0.18)), np.exp(rng.normal(0, 0.06, 3))
    red, green, blue = (float(gain) for gain in brightness * tints)
    return replace(view, gains=(red, green, blue), offset=float(rng.normal(0, 8)))
