"""Images to the `image` tensor: reading from a path, an array or a Pillow image, and the model's preprocessing.

Whatever comes in becomes 8-bit RGB, by these rules:

- of many bands, three are shown, or one, which is replicated to three: those that the model declares
  (`ImageSpec.bands`), that the file names, or that are usual for their number (`rsvl.runtime.images.bands`). A picture
  that Pillow decodes (PNG, JPEG …) has its colours and no bands to choose from;
- 8-bit values stay as they are; booleans become 0 and 255; floats within 0…1 are multiplied by 255;
- any other type (16-bit, floats beyond 0…1) is stretched linearly between two percentiles (`ImageSpec.stretch`, the
  2nd and the 98th) of all its bands together, which keeps the balance of the colours, with a warning. Values that are
  not finite become 0.

A model that takes no SAR is given a picture of one band, too, with a warning: it may be panchromatic.
"""

from __future__ import annotations

import struct
import warnings
from contextlib import closing
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageOps

from rsvl.runtime.errors import InputError
from rsvl.runtime.images import raster
from rsvl.runtime.images.rgb import to_rgb
from rsvl.runtime.images.stretch import PERCENTILES
from rsvl.runtime.manifest import ImageSpec

ImageSource: TypeAlias = "str | Path | np.ndarray | Image.Image"

_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)


def read_image(source: ImageSource, spec: ImageSpec | None = None) -> np.ndarray:
    """Reads an image as 8-bit RGB; the module's docstring says by which rules.

    Args:
        source: a path (PNG, JPEG, TIFF and what else Pillow reads; GeoTIFFs of any type through rasterio where it is
            installed), an array [H, W] or [H, W, C], or a Pillow image. A file's EXIF orientation is applied.
        spec: the model's image input, whose bands and stretch are taken and which may know no SAR; None for the usual.

    Returns:
        uint8 [H, W, 3]; for a uint8 [H, W, 3] array a view of it.

    Raises:
        InputError: missing, truncated, not an image, without pixels, without a band that is asked for, or with bands of
            which nothing says which to show.
    """
    bands, percentiles = asked_of(spec)
    if isinstance(source, np.ndarray):
        rgb = to_rgb(source, bands=bands, percentiles=percentiles)
        if source.ndim == 2 or source.shape[2] < 3:
            warn_of_gray("the array", spec)
        return rgb
    if isinstance(source, Image.Image):
        return _from_pillow(source, "the image", spec)
    path = existing_file(source)
    if is_tiff(path) and raster.available():
        with closing(raster.RasterScene(path, bands, percentiles)) as scene:
            if scene.gray:
                warn_of_gray(str(path), spec)
            return scene.read()
    return _read_with_pillow(path, spec)


def asked_of(spec: ImageSpec | None) -> tuple[tuple[str | int, ...], tuple[float, float]]:
    """The bands that a model asks for and the percentiles that it stretches between."""
    return ((), PERCENTILES) if spec is None else (spec.bands, spec.stretch)


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


def warn_of_gray(name: str, spec: ImageSpec | None) -> None:
    """Warns that a picture of one band is shown to a model that has learned optical pictures only."""
    if spec is not None and "sar" not in spec.sensors:
        warnings.warn(
            f"{name}: one band is shown, as gray: the model has learned optical images; "
            "a SAR image needs a model that takes SAR",
            stacklevel=3,
        )


def _read_with_pillow(path: Path, spec: ImageSpec | None) -> np.ndarray:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # scenes are large; the error still holds
            with Image.open(path) as image:
                return _from_pillow(ImageOps.exif_transpose(image), str(path), spec)
    except Image.UnidentifiedImageError as error:
        raise InputError(f"{path}: not an image that can be read: give a PNG, JPEG or TIFF") from error
    except _UNREADABLE as error:
        raise InputError(f"{path}: damaged or unreadable image ({error})") from error


def _from_pillow(image: Image.Image, name: str, spec: ImageSpec | None) -> np.ndarray:
    if 0 in image.size:
        raise InputError(f"{name}: an image without pixels")
    if len(image.getbands()) < 3 and image.mode not in ("P", "PA"):
        warn_of_gray(name, spec)
    try:
        if image.mode in ("I", "F") or image.mode.startswith("I;16"):
            return to_rgb(np.asarray(image), percentiles=asked_of(spec)[1])
        return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    except _UNREADABLE as error:
        raise InputError(f"{name}: damaged or unreadable image ({error})") from error
