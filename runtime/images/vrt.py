"""What a GDAL virtual raster (VRT) may hold to be opened: bands put together from image files beside it, no more.

A VRT can also run Python, read raw bytes of any file, warp by other rasters and open any host. All of that is refused
here, before GDAL sees the file, by a list of what is known to be harmless.
"""

from __future__ import annotations

from pathlib import Path

from rsvl.runtime import plain_xml
from rsvl.runtime.errors import InputError
from rsvl.runtime.images.formats import VRT, identify

_BANDS = "VRTDataset SRS GeoTransform GCPList GCP Metadata MDI BlockXSize BlockYSize VRTRasterBand MaskBand Overview"
_LABELS = "Description NoDataValue HideNoDataValue UnitType Offset Scale ColorInterp ColorTable Entry CategoryNames"
_COUNTS = "Category Histograms HistItem HistMin HistMax BucketCount IncludeOutOfRange Approximate HistCounts"
_SOURCES = "SimpleSource ComplexSource AveragedSource KernelFilteredSource SourceFilename SourceBand SourceProperties"
_VALUES = "SrcRect DstRect NODATA UseMaskBand ScaleOffset ScaleRatio Exponent SrcMin SrcMax DstMin DstMax Clamp LUT"
_MORE = "ColorTableComponent Kernel Size Coefs OverviewList"
_ELEMENTS = frozenset(" ".join([_BANDS, _LABELS, _COUNTS, _SOURCES, _VALUES, _MORE]).split())
_MOST_BYTES = 64 << 20
_REMEDY = "write it to a GeoTIFF yourself, if you trust it: gdal_translate"


def check_vrt(path: Path) -> list[Path]:
    """Checks that a VRT only puts together image files that lie beside it or in folders below.

    Returns:
        The files.

    Raises:
        InputError: it holds anything else, or a file that is missing or no image.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(f"{path}: a VRT of more than {_MOST_BYTES >> 20} MiB: {_REMEDY}")
        root = plain_xml.parse(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable VRT ({error}): write it again") from error
    for metadata in root.iter("Metadata"):
        if metadata.get("format") == "xml":
            metadata.clear()  # any elements; they are not followed
    for element in root.iter():
        if element.tag not in _ELEMENTS or element.get("subClass"):
            what = element.get("subClass") or element.tag
            raise InputError(f"{path}: a VRT with {what}, which is not opened: {_REMEDY}")
    names = {(element.text or "", element.get("relativeToVRT") == "1") for element in root.iter("SourceFilename")}
    return [_beside(path, name, relative) for name, relative in sorted(names)]


def _beside(vrt: Path, name: str, relative: bool) -> Path:
    folder = vrt.parent.absolute()
    source = (folder if relative else Path.cwd()) / name
    if "://" in name or ".." in Path(name).parts or not source.is_relative_to(folder):
        raise InputError(f"{vrt}: a VRT of {name!r}, which does not lie beside it: {_REMEDY}")
    if not source.is_file():
        raise InputError(f"{vrt}: its file {name!r} is missing: put it beside the VRT")
    if identify(source) is VRT:
        raise InputError(f"{vrt}: a VRT of another VRT, {name!r}: {_REMEDY}")
    return source
