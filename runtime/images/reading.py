"""Reads an image whole, as 8-bit RGB, by the rules of `rsvl.runtime.images.scene`."""

from __future__ import annotations

import numpy as np

from rsvl.runtime.images.options import ReadOptions
from rsvl.runtime.images.scene import ImageSource, open_scene
from rsvl.runtime.manifest import ImageSpec

__all__ = ["ImageSource", "read_image"]


def read_image(source: ImageSource, spec: ImageSpec | None = None, options: ReadOptions | None = None) -> np.ndarray:
    """Reads an image as 8-bit RGB, and tells in one warning what was guessed of it.

    Args:
        source: a path, an array [H, W] or [H, W, C], a Pillow image, or a scene.
        spec: the model's image input, whose bands and stretch are taken and which may know no SAR; None for the usual.
        options: how the image is to be read where the usual guesses do not fit.

    Returns:
        uint8 [H, W, 3]; for a uint8 [H, W, 3] array a view of it.

    Raises:
        InputError: see `rsvl.runtime.images.scene.open_scene`.
    """
    scene = open_scene(source, spec, options)
    try:
        return scene.read()
    finally:
        scene.close()
