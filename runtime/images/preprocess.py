"""From pixels to a model's raw input."""

from __future__ import annotations

import numpy as np
from PIL import Image

from rsvl.runtime.errors import BundleError, InputError
from rsvl.runtime.images.letterbox import placement
from rsvl.runtime.images.tiling import Window
from rsvl.runtime.manifest import ImageSpec


def preprocess(image: np.ndarray, spec: ImageSpec) -> np.ndarray:
    """Resizes and normalises an image for the model, in a letterbox where the model wants one.

    Args:
        image: uint8 [H, W, 3]; a model that takes one channel is given its brightness.
        spec: the model's size, mean and standard deviation, resampling and letterbox.

    Returns:
        float32 [channels, S, S], (x / 255 - mean) / std.

    Raises:
        InputError: not uint8 [H, W, 3].
    """
    return normalise(fit(image, spec), spec)


def fit(image: np.ndarray, spec: ImageSpec) -> np.ndarray:
    """The first half of `preprocess`: an image in the model's size, uint8 [S, S, channels].

    Raises:
        InputError: not uint8 [H, W, 3].
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise InputError(
            f"an image of uint8 [H, W, 3] is needed, not {image.dtype} {list(image.shape)}: "
            "read it with rsvl.runtime.images.reading.read_image"
        )
    if spec.channels == 1:
        image = np.asarray(Image.fromarray(image).convert("L"))
    height, width = image.shape[:2]
    place = placement(height, width, spec)
    image = _resized(image, place.height, place.width, spec)
    if spec.letterbox is not None:
        square = np.full((spec.size, spec.size, *image.shape[2:]), spec.letterbox, np.uint8)
        square[place.top : place.top + place.height, place.left : place.left + place.width] = image
        image = square
    return image.reshape(spec.size, spec.size, spec.channels)


def normalise(image: np.ndarray, spec: ImageSpec) -> np.ndarray:
    """The second half of `preprocess`: from what `fit` gives to float32 [channels, S, S]."""
    tensor = np.empty((spec.channels, spec.size, spec.size), np.float32)
    for channel, (mean, std) in enumerate(zip(spec.mean, spec.std, strict=True)):
        plane = tensor[channel]
        np.multiply(image[:, :, channel], np.float32(1 / (255 * std)), out=plane)  # no temporary image in float
        plane -= np.float32(mean / std)
    return tensor


def squared(image: np.ndarray, spec: ImageSpec) -> tuple[np.ndarray, Window]:
    """Pads an image to a square, so that resizing it to the model's size does not distort it.

    Args:
        image: uint8 [H, W, 3].
        spec: the model's image input, whose mean is what is padded with.

    Returns:
        uint8 [S, S, 3] with S the longer side, and where the image lies in it.
    """
    height, width = image.shape[:2]
    side = max(height, width)
    inner = Window((side - height) // 2, (side - width) // 2, height, width)
    if height == width:
        return image, inner
    colour = np.rint(np.resize(np.array(spec.mean), 3) * 255).astype(np.uint8)
    square = np.empty((side, side, 3), np.uint8)
    square[:] = colour
    square[inner.slices] = image
    return square, inner


def _resized(image: np.ndarray, height: int, width: int, spec: ImageSpec) -> np.ndarray:
    if image.shape[:2] == (height, width):
        return image
    if spec.resize == "linear":
        return resize_linear(image, height, width)
    return np.asarray(Image.fromarray(image).resize((width, height), _filter(spec)))


def resize_linear(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear between the nearest pixels, whose centres lie at halves: OpenCV's INTER_LINEAR, to 1 of 255.

    Pillow's bilinear averages over all pixels that a smaller image covers, so that the two differ where an image
    shrinks.

    Args:
        image: uint8 [H, W] or [H, W, C].
        height: rows wanted.
        width: columns wanted.

    Returns:
        uint8 [height, width] or [height, width, C].
    """
    values = _between(np.asarray(image), height)
    return np.rint(_between(values.swapaxes(0, 1), width).swapaxes(0, 1)).astype(np.uint8)


def _between(values: np.ndarray, wanted: int) -> np.ndarray:
    """Values [N, …] at `wanted` evenly spaced places along the first axis: float32."""
    place = np.clip((np.arange(wanted) + 0.5) * (len(values) / wanted) - 0.5, 0, len(values) - 1)
    first = place.astype(np.intp)
    after = np.minimum(first + 1, len(values) - 1)
    share = (place - first).astype(np.float32).reshape(-1, *[1] * (values.ndim - 1))
    return values[first] * (1 - share) + values[after] * share


def _filter(spec: ImageSpec) -> Image.Resampling:
    try:
        return Image.Resampling[spec.resize.upper()]
    except KeyError:
        raise BundleError(f"unknown resampling {spec.resize!r} in the model's image spec: upgrade rsvl") from None
