"""What spoils an optical image and leaves the radar's as it is: cloud, and night."""

import cv2
import numpy as np

from rsvl.data.synth.ground import noise

#: Conditions of the optical image, with their shares of the scenes.
CONDITIONS: dict[str, float] = {"clear": 0.4, "cloudy": 0.35, "night": 0.25}

#: Share of the image that is under cloud, smallest and largest.
_COVER = (0.35, 0.7)
#: How quickly a cloud grows dense from its edge inwards, and how dense it gets.
_STEEPNESS, _DENSEST = 2.4, 0.97
_SHADOW = 0.35


def spoil(rng: np.random.Generator, image: np.ndarray, condition: str) -> tuple[np.ndarray, np.ndarray]:
    """Take the optical image of a scene under a condition.

    Args:
        rng: the source of randomness.
        image: the scene by day without a cloud, uint8 [H, H, 3] RGB.
        condition: a key of `CONDITIONS`.

    Returns:
        The image, uint8 [H, H, 3], and how far it hides what is there, float32 [H, H] in 0…1.
    """
    if condition == "cloudy":
        return _clouded(rng, image)
    if condition == "night":
        return _dark(rng, image), np.ones(image.shape[:2], np.float32)
    return image, np.zeros(image.shape[:2], np.float32)


def _clouded(rng: np.random.Generator, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lay clouds and their shadows over an image."""
    size = image.shape[0]
    height = noise(rng, size, 2, 4, 0.5)
    level = np.quantile(height, 1 - rng.uniform(*_COVER))
    opacity = np.clip((height - level) * _STEEPNESS, 0, _DENSEST).astype(np.float32)
    towards = rng.uniform(-0.06, 0.06, 2) * size
    shift = np.array([[1, 0, towards[0]], [0, 1, towards[1]]])
    shadow = cv2.warpAffine(opacity, shift, (size, size), borderMode=cv2.BORDER_REPLICATE)
    ground = image * (1 - _SHADOW * shadow)[..., None]
    white = 228 + 12 * noise(rng, size, 4, 4)
    clouded = ground + (white[..., None] * np.array([0.98, 0.99, 1.0]) - ground) * opacity[..., None]
    return np.clip(clouded, 0, 255).astype(np.uint8), opacity


def _dark(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Take an image with so little light that the sensor's noise hides most of it."""
    light = rng.uniform(0.02, 0.05) * np.array([0.9, 0.95, 1.15])
    grain = rng.standard_normal(image.shape, dtype=np.float32) * rng.uniform(4, 7)
    return np.clip(image * light + 6 + grain, 0, 255).astype(np.uint8)
