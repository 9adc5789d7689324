"""How large an image is, by its header: known before a pixel is decoded."""

from __future__ import annotations

from pathlib import Path

from rsvl.runtime.errors import InputError
from rsvl.runtime.extras import remedy
from rsvl.runtime.images import raster
from rsvl.runtime.images.formats import JPEG_2000, TIFF, existing_file, identify
from rsvl.runtime.images.pillow_images import TooLargeError, opened


def image_size(path: Path) -> tuple[int, int]:
    """The height and width of an image file in pixels, before its orientation tag is followed.

    Raises:
        InputError: it is missing, damaged, no image, or larger than any reader takes.
        MissingComponentError: of a kind that needs rasterio, which is not installed.

    Examples:
        >>> image_size(Path("squares.png"))
        (32, 32)
    """
    path = existing_file(path)
    kind = identify(path)
    if kind.pillow and not (kind in (TIFF, JPEG_2000) and raster.available()):
        try:
            with opened(path, kind.pillow) as image:
                return image.height, image.width
        except TooLargeError as error:
            if not (kind.driver and raster.available()):
                raise InputError(
                    f"{path}: a {kind.name} of more pixels than Pillow reads: {remedy('rasterio')}"
                ) from error
    planes = raster.RasterPlanes(path, kind)
    planes.close()
    return planes.facts.height, planes.facts.width
