"""What kind of file an image is, told by its first bytes, and which reader may open it.

This is the allow-list: a file is opened only as what its first bytes say, by one named driver of GDAL or one named
format of Pillow, never by asking every driver in turn. Some of those run programs (Pillow's EPS starts Ghostscript) or
reach for other files and hosts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rsvl.runtime.errors import InputError


@dataclass(frozen=True)
class Format:
    """A kind of image file.

    Attributes:
        name: as people call it.
        driver: GDAL's driver for it; empty where GDAL is not asked.
        pillow: Pillow's format; empty where Pillow is not asked.
    """

    name: str
    driver: str = ""
    pillow: str = ""


TIFF = Format("TIFF", "GTiff", "TIFF")
PNG = Format("PNG", "PNG", "PNG")
JPEG = Format("JPEG", "JPEG", "JPEG")
JPEG_2000 = Format("JPEG 2000", "JP2OpenJPEG", "JPEG2000")
PNM = Format("PNM", "PNM", "PPM")
WEBP = Format("WebP", "WEBP", "WEBP")
VRT = Format("VRT", "VRT")
NITF = Format("NITF", "NITF")
HFA = Format("ERDAS Imagine", "HFA")

_BY_FIRST_BYTES = (
    *((magic, TIFF) for magic in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"\xff\xd8\xff", JPEG),
    (b"\0\0\0\x0cjP  \r\n\x87\n", JPEG_2000),
    (b"\xff\x4f\xff\x51", JPEG_2000),
    (b"GIF87a", Format("GIF", "", "GIF")),
    (b"GIF89a", Format("GIF", "", "GIF")),
    (b"BM", Format("BMP", "", "BMP")),
    *((b"P%d%b" % (kind, space), PNM) for kind in range(1, 7) for space in (b" ", b"\t", b"\n", b"\r")),
    (b"NITF0", NITF),
    (b"NSIF0", NITF),
    (b"EHFA_HEADER_TAG", HFA),
    (b"<VRTDataset", VRT),
)

_TO_GEOTIFF = "convert it to a GeoTIFF, for example with gdal_translate"
_NOT_READ = (
    (b"version https:", "a Git LFS pointer and not the file itself", "fetch it with git lfs pull"),
    (b"<!doctype html", "a web page", "download the image itself"),
    (b"<html", "a web page", "download the image itself"),
    (b"%pdf", "a PDF", _TO_GEOTIFF),
    (b"%!ps", "PostScript", "give a PNG, JPEG or TIFF"),
    (b"\xc5\xd0\xd3\xc6", "PostScript", "give a PNG, JPEG or TIFF"),
    (b"<svg", "an SVG drawing", "give a PNG, JPEG or TIFF"),
    (b"\x89hdf\r\n\x1a\n", "HDF5", _TO_GEOTIFF),
    (b"\x0e\x03\x13\x01", "HDF4", _TO_GEOTIFF),
    (b"cdf\x01", "netCDF", _TO_GEOTIFF),
    (b"cdf\x02", "netCDF", _TO_GEOTIFF),
    (b"grib", "GRIB", _TO_GEOTIFF),
    (b"simple  =", "FITS", _TO_GEOTIFF),
    (b"sqlite format 3", "an SQLite file (a GeoPackage or MBTiles)", _TO_GEOTIFF),
    (b"pk\x03\x04", "a ZIP archive", "unpack it and name the image inside"),
    (b"\x1f\x8b", "compressed by gzip", "unpack it and name the image inside"),
    (b"8bps", "a Photoshop file", "give a PNG, JPEG or TIFF"),
    (b"\x93numpy", "a NumPy array", "load it and pass the array to rsvl.runtime, or write a TIFF"),
    (b"\xff\x0a", "JPEG XL", "give a PNG, JPEG or TIFF"),
    (b"\0\0\0\x0cjxl ", "JPEG XL", "give a PNG, JPEG or TIFF"),
)
_HEAD = 512

PILLOW_FORMATS = tuple({kind.pillow for _, kind in _BY_FIRST_BYTES if kind.pillow} | {WEBP.pillow})
"""The formats that Pillow may open, for `PIL.Image.open(…, formats=PILLOW_FORMATS)`."""


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


def identify(path: Path) -> Format:
    """What kind of image a file is.

    Raises:
        InputError: it cannot be read, or is nothing that rsvl reads: the message says what it is, if that is known.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}): check its permissions") from error
    if not head:
        raise InputError(f"{path}: an empty file: download or write it again")
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return WEBP
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for magic, kind in _BY_FIRST_BYTES:
        if head.startswith(magic) or (kind is VRT and text.startswith(magic)):
            return kind
    if text.startswith(b"<?xml") and b"<VRTDataset" in text:
        return VRT
    raise InputError(f"{path}: {_other_kind(head, text.lower())}")


def _other_kind(head: bytes, text: bytes) -> str:
    if head[4:8] == b"ftyp":
        return "an AVIF or HEIF picture, or a video, which is not read: give a PNG, JPEG or TIFF"
    for magic, name, remedy in _NOT_READ:
        if text.startswith(magic) or head.lower().startswith(magic):
            return f"{name}, which is not read: {remedy}"
    if text.startswith(b"<?xml"):
        drawing = b"<svg" in text
        return f"{'an SVG drawing' if drawing else 'an XML file'}, not an image: give a PNG, JPEG or TIFF"
    return "not an image that can be read: give a PNG, JPEG or TIFF"
