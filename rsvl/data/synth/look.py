"""What a camera and a file do to an optical image: tones, haze, fine detail, sharpening, JPEG's losses.

Scenes are drawn softly and evenly lit. Against photographs from drones and aeroplanes they lack contrast, dark pixels,
fine detail and haze (docs/training.md has the figures); `photographed` draws these anew for each scene. What objects
are, and where, stays as it is.
"""

from __future__ import annotations

import cv2
import numpy as np

from rsvl.data.synth.ground import noise

#: The looks that optical images can have.
LOOKS = ("drawn", "photo")

#: Median and spread (of the logarithm) of the factors of contrast and of saturation.
_CONTRAST, _SATURATION = (1.7, 0.25), (0.6, 0.5)
_MOST_CHROMA = 1.4
"""The largest factor of what makes a colour differ from grey: beyond it colours change their names."""
_HAZE = 0.3
"""Most of what haze adds, as a share of white; three scenes in ten have some."""
_GRAIN = (2.0, 9.0)
"""Deviation of the finest detail of the ground, levels."""
_SHARPENED = 1.2
"""Most of what sharpening adds of the detail."""
_QUALITY = (60, 96)


def photographed(rng: np.random.Generator, image: np.ndarray) -> tuple[np.ndarray, int]:
    """An image as a camera might have taken it, and the quality that its file is stored with.

    Args:
        rng: the source of randomness.
        image: uint8 [H, H, 3] RGB.

    Returns:
        uint8 [H, H, 3], and JPEG's quality.
    """
    seen = image.astype(np.float32)
    seen += rng.uniform(*_GRAIN) * noise(rng, image.shape[0], image.shape[0] // 4, 2, 0.8)[..., None]
    seen = _toned(rng, seen)
    seen += rng.uniform(0, _SHARPENED) * (seen - cv2.GaussianBlur(seen, (0, 0), 1.0))
    if rng.random() < 0.3:
        share = rng.uniform(0.05, _HAZE)
        seen = seen * (1 - share) + share * np.array([225, 230, 238], np.float32)
    return np.clip(np.rint(seen), 0, 255).astype(np.uint8), int(rng.integers(*_QUALITY))


def _toned(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Other contrast around the mean, and other saturation."""
    contrast, saturation = (float(median * np.exp(rng.normal(0, s))) for median, s in (_CONTRAST, _SATURATION))
    grey = image.mean(axis=2, keepdims=True)
    chroma = min(contrast * saturation, _MOST_CHROMA)
    toned: np.ndarray = grey.mean() + contrast * (grey - grey.mean()) + chroma * (image - grey)
    return toned
