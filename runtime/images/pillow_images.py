"""Images that Pillow decodes, and arrays, as bands (`rsvl.runtime.images.planes`)."""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from rsvl.runtime.errors import InputError, MissingComponentError
from rsvl.runtime.extras import remedy
from rsvl.runtime.images import tiff_tags
from rsvl.runtime.images.formats import JPEG_2000, PILLOW_FORMATS, PNG, PNM, TIFF, Format
from rsvl.runtime.images.planes import ArrayPlanes, Facts

_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, IndexError, TypeError)
_RGB, _RGBA = ("red", "green", "blue"), ("red", "green", "blue", "alpha")
_COLOURS = {"L": ("gray",), "LA": ("gray", "alpha"), "RGB": _RGB, "RGBA": _RGBA, "1": ("gray",)}
#: Colour types of a PNG (ISO/IEC 15948, 11.2.1) that have more than one channel and no palette.
_PNG_OF_CHANNELS = (2, 4, 6)
_PNM_HEADER = re.compile(rb"P([2356])(?:\s+|#[^\n]*\n)+(\d+)(?:\s+|#[^\n]*\n)+(\d+)(?:\s+|#[^\n]*\n)+(\d+)\s")


class TooLargeError(Exception):
    """Pillow refuses an image of so many pixels."""


def from_array(values: np.ndarray, name: str) -> ArrayPlanes:
    """An array as bands.

    Args:
        values: [H, W] or [H, W, C], of any real dtype.
        name: for messages.

    Raises:
        InputError: another number of dimensions, no pixels, or not real numbers.
    """
    if values.dtype.kind not in "buif":
        raise InputError(f"an image must hold numbers, not {values.dtype}")
    if values.ndim not in (2, 3) or 0 in values.shape:
        raise InputError(f"an image is [H, W] or [H, W, C] with at least one pixel, not {list(values.shape)}")
    cube = values[:, :, None] if values.ndim == 2 else values
    height, width, count = cube.shape
    colours = {3: _RGB, 4: ("", "", "", "")}.get(count, ("",) * count)
    bits = 8 * values.dtype.itemsize if values.dtype.kind != "b" else 1
    return ArrayPlanes(cube, Facts(name, "array", height, width, count, values.dtype, bits, colours=colours))


def from_pillow(image: Image.Image, name: str, kind: str = "Pillow image") -> ArrayPlanes:
    """A Pillow image as bands; transparent colours and palettes become an alpha.

    Raises:
        InputError: it has no pixels, or cannot be decoded.
    """
    if 0 in image.size:
        raise InputError(f"{name}: an image without pixels")
    try:
        mode = _mode(image)
        values = np.asarray(image if image.mode == mode else image.convert(mode))
    except _UNREADABLE as error:
        raise _unreadable(name, error) from error
    cube = values[:, :, None] if values.ndim == 2 else values
    height, width, count = cube.shape
    bits = 1 if values.dtype == np.bool_ else 8 * values.dtype.itemsize
    colours = _COLOURS.get(mode, ("gray",))
    return ArrayPlanes(
        cube, Facts(name, kind, height, width, count, values.dtype, bits, colours=colours, has_true_alpha=True)
    )


def read_with_pillow(path: Path, kind: Format) -> ArrayPlanes:
    """Decodes an image file whole, turned as its orientation tag says.

    Raises:
        InputError: damaged, or of a form that Pillow does not know.
        MissingComponentError: of more than 8 bits in a form that Pillow cuts to 8.
        TooLargeError: larger than Pillow reads.
    """
    if has_wide_channels(path, kind):
        raise MissingComponentError(f"{path}: channels of 16 bits need rasterio: {remedy('rasterio')}")
    try:
        with opened(path, kind.pillow) as image:
            return from_pillow(ImageOps.exif_transpose(image), str(path), kind.name)
    except InputError as error:
        if kind is not JPEG_2000:
            raise
        raise InputError(f"{error}; Pillow reads few kinds of JPEG 2000: {remedy('rasterio')} for all") from error
    except _UNREADABLE as error:
        raise _unreadable(str(path), error) from error


@contextmanager
def opened(path: Path, pillow: str = "") -> Iterator[Image.Image]:
    """A file opened by Pillow as one of the formats that rsvl reads, and no other.

    Args:
        path: the file.
        pillow: the one format that it must be of.

    Raises:
        InputError: Pillow does not know it.
        TooLargeError: larger than Pillow reads.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # scenes are large; the error still holds
            image = Image.open(path, formats=(pillow,) if pillow else PILLOW_FORMATS)
    except Image.DecompressionBombError as error:
        raise TooLargeError(str(path)) from error
    except Image.UnidentifiedImageError as error:
        raise InputError(
            f"{path}: {pillow or 'an image'} of a form that Pillow does not read: convert it to PNG, or "
            f"{remedy('rasterio')} to read it with GDAL"
        ) from error
    except _UNREADABLE as error:
        raise _unreadable(str(path), error) from error
    with image:
        yield image


def has_wide_channels(path: Path, kind: Format) -> bool:
    """Whether a file has several channels of more than 8 bits, of which Pillow keeps the upper 8."""
    if kind is TIFF:
        tags = tiff_tags.read_tags(path)
        samples = tags.get(tiff_tags.SAMPLES_PER_PIXEL, (1,))
        return samples[:1] > (1,) and max(tags.get(tiff_tags.BITS_PER_SAMPLE, (1,))) > 8
    if kind not in (PNG, PNM):
        return False
    with path.open("rb") as file:
        head = file.read(512)
    if kind is PNG:
        return len(head) > 25 and head[24] == 16 and head[25] in _PNG_OF_CHANNELS
    header = _PNM_HEADER.match(head)
    return header is not None and header[1] in (b"3", b"6") and int(header[4]) > 255


def _mode(image: Image.Image) -> str:
    """The mode in which Pillow gives the image's values without loss."""
    if image.mode in ("I", "F", "1") or image.mode.startswith("I;16"):
        return image.mode
    transparent = "transparency" in image.info or image.mode in ("PA", "LA", "La", "RGBA", "RGBa")
    if image.mode in ("L", "LA", "La"):
        return "LA" if transparent else "L"
    return "RGBA" if transparent else "RGB"


def _unreadable(name: str, error: Exception) -> InputError:
    reason = " ".join(str(error).split())
    if "unsupported" in reason.lower() or "not supported" in reason.lower() or "unknown" in reason.lower():
        return InputError(f"{name}: of a form that Pillow does not read ({reason}): convert it to PNG")
    return InputError(f"{name}: damaged or truncated image ({reason}): download or write it again")
