"""Images to the `image` tensor: reading from a path, an array or a Pillow image, and the model's preprocessing.

Whatever comes in becomes 8-bit RGB, by these rules:

- one channel (gray) is replicated to three; of two and four channels the last (alpha, or near infrared) is dropped;
- 8-bit values stay as they are; booleans become 0 and 255; floats within 0…1 are multiplied by 255;
- any other type (16-bit, floats beyond 0…1) is stretched linearly from the 2nd to the 98th percentile of all its
  bands together, which keeps the balance of the colours, with a warning. Values that are not finite become 0.
"""

from __future__ import annotations

import struct
import warnings
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageOps

from rsvl.runtime.errors import BundleError, InputError
from rsvl.runtime.manifest import ImageSpec

ImageSource: TypeAlias = "str | Path | np.ndarray | Image.Image"

PERCENTILES = (2.0, 98.0)
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)


def read_image(source: ImageSource) -> np.ndarray:
    """Reads an image as 8-bit RGB; the module's docstring says by which rules.

    Args:
        source: a path (PNG, JPEG, TIFF and what else Pillow reads; GeoTIFFs of any type through rasterio where it is
            installed), an array [H, W] or [H, W, C], or a Pillow image. A file's EXIF orientation is applied.

    Returns:
        uint8 [H, W, 3]; for a uint8 [H, W, 3] array a view of it.

    Raises:
        InputError: missing, truncated, not an image, without pixels, or with a channel count other than 1 to 4.
    """
    if isinstance(source, np.ndarray):
        return to_rgb(source)
    if isinstance(source, Image.Image):
        return _from_pillow(source, "the image")
    path = existing_file(source)
    if is_tiff(path):
        from rsvl.runtime import geo

        if geo.available():
            with closing(geo.RasterScene(path)) as scene:
                return scene.read()
    return _read_with_pillow(path)


def existing_file(source: str | Path) -> Path:
    """The source as the path of an existing file.

    Raises:
        InputError: not a path, missing, or not a file.
    """
    if not isinstance(source, str | Path):
        raise InputError(f"an image is a path, a NumPy array or a Pillow image, not {type(source).__name__}")
    path = Path(source)
    if not path.exists():
        raise InputError(f"{path}: no such image file")
    if not path.is_file():
        raise InputError(f"{path}: not a file: name an image")
    return path


def is_tiff(path: Path) -> bool:
    """Whether the file starts as a TIFF or BigTIFF does."""
    try:
        with path.open("rb") as file:
            return file.read(4) in _TIFF_MAGIC
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}): check its permissions") from error


def preprocess(image: np.ndarray, spec: ImageSpec) -> np.ndarray:
    """Resizes and normalises an image for the model.

    Args:
        image: uint8 [H, W, 3]; a model that takes one channel is given its brightness.
        spec: the model's size, mean and standard deviation, and resampling (a Pillow filter's name, antialiased).

    Returns:
        float32 [channels, S, S], (x / 255 - mean) / std.

    Raises:
        InputError: not uint8 [H, W, 3].
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise InputError(
            f"an image of uint8 [H, W, 3] is needed, not {image.dtype} {list(image.shape)}: "
            "read it with rsvl.runtime.image.read_image"
        )
    if spec.channels == 1:
        image = np.asarray(Image.fromarray(image).convert("L"))
    if image.shape[:2] != (spec.size, spec.size):
        image = np.asarray(Image.fromarray(image).resize((spec.size, spec.size), _filter(spec)))
    image = image.reshape(spec.size, spec.size, spec.channels)
    tensor = np.empty((spec.channels, spec.size, spec.size), np.float32)
    for channel, (mean, std) in enumerate(zip(spec.mean, spec.std, strict=True)):
        plane = tensor[channel]
        np.multiply(image[:, :, channel], np.float32(1 / (255 * std)), out=plane)  # no temporary image in float
        plane -= np.float32(mean / std)
    return tensor


@dataclass(frozen=True)
class Stretch:
    """A linear stretch of values to 0…255: `low` and below become 0, `high` and above 255."""

    low: float
    high: float

    @classmethod
    def of(cls, values: np.ndarray, valid: np.ndarray | None = None) -> Stretch | None:
        """The stretch that the module's rules give for an image of these values, None where they stay as they are.

        Args:
            values: [H, W] or [H, W, C]; a thinned-out copy will do.
            valid: bool [H, W], the pixels that count; all finite ones without it.
        """
        if values.dtype == np.uint8:
            return None
        if values.dtype == np.bool_:
            return cls(0.0, 1.0)
        counted = values if valid is None else values[valid]
        counted = counted[np.isfinite(counted)]
        if counted.size == 0:
            return cls(0.0, 1.0)
        if values.dtype.kind == "f" and counted.min() >= 0 and counted.max() <= 1:
            return cls(0.0, 1.0)
        low, high = (float(p) for p in np.percentile(counted, PERCENTILES))
        warnings.warn(
            f"{values.dtype} image stretched to 8 bits from {low:g}…{high:g} (2nd to 98th percentile): "
            "pass 8-bit values to choose otherwise",
            stacklevel=3,
        )
        return cls(low, high)

    def apply(self, values: np.ndarray) -> np.ndarray:
        """The values stretched to uint8, in their own shape."""
        scale = np.float32(255.0 / max(self.high - self.low, 1e-12))
        scaled = (values.astype(np.float32) - np.float32(self.low)) * scale
        np.nan_to_num(scaled, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        return np.rint(np.clip(scaled, 0, 255, out=scaled), out=scaled).astype(np.uint8)


def to_rgb(values: np.ndarray, stretch: Stretch | None = None) -> np.ndarray:
    """Makes an array 8-bit RGB by the module's rules.

    Args:
        values: [H, W] or [H, W, C] with C of 1 to 4, of any real dtype.
        stretch: how values become 8-bit; found from the values themselves when not given.

    Returns:
        uint8 [H, W, 3].

    Raises:
        InputError: another number of dimensions or channels, no pixels, or not numbers.
    """
    if values.dtype.kind not in "buif":
        raise InputError(f"an image must hold numbers, not {values.dtype}")
    if values.ndim not in (2, 3) or 0 in values.shape[:2]:
        raise InputError(f"an image is [H, W] or [H, W, C] with at least one pixel, not {list(values.shape)}")
    channels = 1 if values.ndim == 2 else values.shape[2]
    if channels not in (1, 2, 3, 4):
        raise InputError(f"an image has 1 to 4 channels, not {channels}: choose the red, green and blue ones")
    planes = values.reshape(*values.shape[:2], channels)[:, :, : 1 if channels < 3 else 3]
    if planes.dtype != np.uint8:
        stretch = stretch or Stretch.of(planes)
        assert stretch is not None
        planes = stretch.apply(planes)
    return np.repeat(planes, 3, axis=2) if planes.shape[2] == 1 else planes


def _read_with_pillow(path: Path) -> np.ndarray:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # scenes are large; the error still holds
            with Image.open(path) as image:
                return _from_pillow(ImageOps.exif_transpose(image), str(path))
    except Image.UnidentifiedImageError as error:
        raise InputError(f"{path}: not an image that can be read: give a PNG, JPEG or TIFF") from error
    except _UNREADABLE as error:
        raise InputError(f"{path}: damaged or unreadable image ({error})") from error


def _from_pillow(image: Image.Image, name: str) -> np.ndarray:
    if 0 in image.size:
        raise InputError(f"{name}: an image without pixels")
    try:
        if image.mode in ("I", "F") or image.mode.startswith("I;16"):
            return to_rgb(np.asarray(image))
        return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    except _UNREADABLE as error:
        raise InputError(f"{name}: damaged or unreadable image ({error})") from error


def _filter(spec: ImageSpec) -> Image.Resampling:
    try:
        return Image.Resampling[spec.resize.upper()]
    except KeyError:
        raise BundleError(f"unknown resampling {spec.resize!r} in the model's image spec: upgrade rsvl") from None
