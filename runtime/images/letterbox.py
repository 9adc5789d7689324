"""Where an image lies in a model's square input: stretched over all of it, or whole in its middle with a border."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rsvl.runtime.manifest import ImageSpec


class Placement(NamedTuple):
    """An image's place in the square, in pixels of the square.

    Attributes:
        left: columns before it.
        top: rows above it.
        width: its columns.
        height: its rows.
        scale: pixels of the square per pixel of the image, by x and by y.
        size: side of the square.
    """

    left: int
    top: int
    width: int
    height: int
    scale: tuple[float, float]
    size: int

    def to_image(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes (x1, y1, x2, y2) in 0…1 of the square, [K, 4], in pixels of the image and clipped to it: float64."""
        offset, scale = np.array([self.left, self.top] * 2), np.array(self.scale * 2)
        end = np.array([self.width, self.height] * 2)
        return np.clip(np.asarray(boxes, np.float64) * self.size - offset, 0, end) / scale

    def to_square(self, boxes: np.ndarray) -> np.ndarray:
        """The inverse: boxes in pixels of the image, [K, 4], in 0…1 of the square."""
        offset, scale = np.array([self.left, self.top] * 2), np.array(self.scale * 2)
        return (np.asarray(boxes, np.float64) * scale + offset) / self.size

    def in_map(self, side: int, align_corners: bool = False) -> tuple[float, float, float, float]:
        """Where the image lies (left, top, right, bottom) in a map of the square, in pixels of the map.

        Args:
            side: of the map, in pixels.
            align_corners: see `ModelSpec`.
        """
        ratio, shift = side / self.size, 0.0
        if align_corners:
            ratio = (side - 1) / (self.size - 1)
            shift = (1 - ratio) / 2
        ends = (self.left, self.top, self.left + self.width, self.top + self.height)
        left, top, right, bottom = (end * ratio + shift for end in ends)
        return left, top, right, bottom


def placement(height: int, width: int, spec: ImageSpec) -> Placement:
    """Where an image of `height` × `width` pixels lies in the input that `spec` describes.

    A letterbox is Ultralytics': the scale is min(S / height, S / width), sides are rounded, half of what is left over
    lies on each side and an odd pixel comes last.
    """
    size = spec.size
    if spec.letterbox is None:
        return Placement(0, 0, size, size, (size / width, size / height), size)
    scale = min(size / height, size / width)
    columns, rows = (max(1, round(side * scale)) for side in (width, height))
    left, top = (round((size - side) / 2 - 0.1) for side in (columns, rows))
    return Placement(left, top, columns, rows, (scale, scale), size)
