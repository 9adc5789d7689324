"""A rotated coordinate system on the image, in which shores, runways and streets are laid out."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Frame:
    """Origin and two perpendicular unit vectors, in pixels of the image (y down).

    Attributes:
        size: side of the image.
        origin: float64 [2].
        along: first axis, float64 [2].
        across: second axis, a quarter turn clockwise from the first, float64 [2].
    """

    size: int
    origin: np.ndarray
    along: np.ndarray
    across: np.ndarray

    @classmethod
    def rotated(cls, size: int, angle: float) -> "Frame":
        """Frame at the image's centre, its first axis at `angle` radians."""
        along = np.array([np.cos(angle), np.sin(angle)])
        return cls(size, np.array([size / 2] * 2), along, np.array([-along[1], along[0]]))

    def point(self, along: float, across: float) -> np.ndarray:
        """Image coordinates of a point given in this frame: [2]."""
        return self.origin + self.along * along + self.across * across

    def line(self, across: float) -> np.ndarray:
        """Line parallel to the first axis, from beyond one edge of the image to beyond the other: [2, 2]."""
        return np.stack([self.point(-self.size, across), self.point(self.size, across)])

    def coordinates(self) -> tuple[np.ndarray, np.ndarray]:
        """Both coordinates of every pixel: float32 [H, W] each."""
        yy, xx = np.mgrid[0 : self.size, 0 : self.size].astype(np.float32)
        x, y = xx - self.origin[0], yy - self.origin[1]
        return x * self.along[0] + y * self.along[1], x * self.across[0] + y * self.across[1]
