"""From pixels to a model's raw input."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from PIL import Image

from rsvl.runtime.errors import BundleError, InputError
from rsvl.runtime.images.letterbox import placement
from rsvl.runtime.images.tiling import Window
from rsvl.runtime.manifest import ImageSpec

_Weights: TypeAlias = Callable[[np.ndarray], dict[int, np.ndarray]]


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
    if spec.resize in _SAMPLING:
        return _SAMPLING[spec.resize](image, height, width)
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
    return _sampled(image, height, width, lambda t: {0: 1 - t, 1: t})


def resize_cubic(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bicubic between the nearest 4×4 pixels, otherwise as `resize_linear`: OpenCV's INTER_CUBIC, to 1 of 255.

    Its cubic is that of a = -0.75; Pillow's, besides averaging, has -0.5.
    """
    return _sampled(image, height, width, lambda t: {-1: _far(1 + t), 0: _near(t), 1: _near(1 - t), 2: _far(2 - t)})


_SAMPLING = {"linear": resize_linear, "cubic": resize_cubic}
_CUBIC = -0.75


def _near(t: np.ndarray) -> np.ndarray:
    """The cubic's weight of a pixel at a distance of up to one."""
    return ((_CUBIC + 2) * t - (_CUBIC + 3)) * t * t + 1


def _far(t: np.ndarray) -> np.ndarray:
    """The cubic's weight of a pixel at a distance of one to two."""
    return _CUBIC * (((t - 5) * t + 8) * t - 4)


def _sampled(image: np.ndarray, height: int, width: int, weights: _Weights) -> np.ndarray:
    values = _between(np.asarray(image), height, weights)
    values = _between(values.swapaxes(0, 1), width, weights).swapaxes(0, 1)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _between(values: np.ndarray, wanted: int, weights: _Weights) -> np.ndarray:
    """Values [N, …] at `wanted` evenly spaced places along the first axis: float32.

    Args:
        values: any; beyond their ends they are as at the ends.
        wanted: number of places.
        weights: from how far each place lies after the pixel before it, 0…1, to the weights of the pixels around it, by
            their distance from that pixel.
    """
    place = (np.arange(wanted) + 0.5) * (len(values) / wanted) - 0.5
    before = np.floor(place)
    total: np.ndarray = np.zeros((), np.float32)
    for step, weight in weights(place - before).items():
        index = np.clip(before + step, 0, len(values) - 1).astype(np.intp)
        total = total + values[index] * weight.astype(np.float32).reshape(-1, *[1] * (values.ndim - 1))
    return total


def _filter(spec: ImageSpec) -> Image.Resampling:
    try:
        return Image.Resampling[spec.resize.upper()]
    except KeyError:
        raise BundleError(f"unknown resampling {spec.resize!r} in the model's image spec: upgrade rsvl") from None
