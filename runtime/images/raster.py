"""Rasters through rasterio (the extra ``[geo]``), which is imported only where it is needed, as bands.

GDAL opens what a file's own tags and sidecars name: other files, and any URL. So a file is opened by the one driver
that its first bytes say, without sidecars and without a network, and one whose tags still point elsewhere is refused.
What harmless sidecars say of the place is read in `rsvl.runtime.images.sidecars`.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from rsvl.runtime.errors import InputError, MissingComponentError
from rsvl.runtime.extras import remedy
from rsvl.runtime.images import placing, tiff_tags
from rsvl.runtime.images.formats import PNM, TIFF, VRT, Format, identify
from rsvl.runtime.images.planes import ArrayPlanes, Facts, OrientedPlanes, Planes, is_orientation
from rsvl.runtime.images.tiling import Window
from rsvl.runtime.images.vrt import check_vrt

_SAFE = {
    "GDAL_PAM_ENABLED": "NO",
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_VRT_ENABLE_PYTHON": "NO",
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".none",
    "CPL_VSIL_CURL_ALLOWED_FILENAME": "/none",
}
#: GDAL's own cache takes a twentieth of the memory unless it is told otherwise.
_CACHE_MB = "64"
#: A piece that can only be decoded at once (a whole PNG, a tile of a TIFF) may have so many bytes.
LARGEST_PIECE = 1 << 31
_STRIPS = 64
"""In which a thinned-out copy of a damaged file is read."""
#: Formats that are decoded from the top each time: read once, whole.
_SEQUENTIAL = ("PNG", "JPEG", "WEBP", "PNM")
_NOT_SUPPORTED = ("missing codec", "not supported", "unsupported", "unhandled", "not implemented", "cannot handle")
_OF_NO_KIND = ("undefined", "")


def available() -> bool:
    """Whether rasterio is installed (it is not imported)."""
    return importlib.util.find_spec("rasterio") is not None


def rasterio() -> ModuleType:
    """The rasterio module.

    Raises:
        MissingComponentError: it is not installed.
    """
    os.environ.setdefault("GDAL_CACHEMAX", _CACHE_MB)
    try:
        import rasterio as module
        import rasterio.shutil
    except ImportError as error:
        raise MissingComponentError(f"georeferenced images need rasterio: {remedy('rasterio')}") from error
    return module


def open_raster(path: Path, kind: Format, crs: str = "") -> Planes:
    """Opens a file by GDAL.

    Args:
        path: the file.
        kind: what it is.
        crs: its coordinate system, where it has a transform and does not say which system it is of.

    Raises:
        InputError: damaged, of a form that GDAL does not read, without an image, or one that leads elsewhere.
        MissingComponentError: rasterio is not installed.
    """
    raster = RasterPlanes(path, kind, crs)
    planes: Planes = raster
    if kind.driver in _SEQUENTIAL:
        try:
            planes = ArrayPlanes(raster.read(range(1, raster.facts.count + 1)), raster.facts)
        finally:
            raster.close()
    turns = is_orientation(raster.orientation) and raster.facts.georeference is None
    return OrientedPlanes(planes, raster.orientation) if turns else planes


class RasterPlanes:
    """A file that GDAL reads, whole or by windows. It is opened when first read; reading after `close` opens it again.

    A palette's colours are its bands; of complex values, and of a NITF's pair of real and imaginary parts, the
    amplitude is.
    """

    def __init__(self, path: Path, kind: Format, crs: str = "") -> None:
        """Opens a file; see `open_raster` for the arguments and errors."""
        self._path, self._kind = path, kind
        self._open: Any = None
        self._stack = ExitStack()
        if kind is VRT and not _is_utf8(path):
            raise InputError(f"{path}: a VRT whose name is not UTF-8: rename it")
        for source in check_vrt(path) if kind is VRT else ():
            RasterPlanes(source, identify(source)).close()
        try:
            with self._reading() as dataset:
                self._check(dataset)
                self._palette = _palette(dataset)
                self._is_pair = _is_pair_of_parts(dataset)
                self._types = {_plain_type(name) for name in dataset.dtypes}
                self.facts = self._facts(dataset, crs)
                self.orientation = _orientation(path, kind, dataset.tags())
                flags = {flag.name for flags in dataset.mask_flag_enums for flag in flags}
                self._has_mask = "per_dataset" in flags and "alpha" not in flags
        except BaseException:
            self.close()
            raise

    def read(
        self, bands: Sequence[int], window: Window | None = None, shape: tuple[int, int] | None = None
    ) -> np.ndarray:
        """See `Planes.read`. In a thinned-out copy of all, a damaged piece has the rows of the next sound one.

        Raises:
            InputError: the file is truncated or damaged, of a thinned-out copy more than half of it.
        """
        if window is None and shape is not None:
            try:
                return self._read(bands, None, shape)
            except InputError as error:
                return self._thinned(bands, shape, error)
        return self._read(bands, window, shape)

    def _thinned(self, bands: Sequence[int], shape: tuple[int, int], error: InputError) -> np.ndarray:
        """A thinned-out copy, read strip by strip."""
        edges = np.linspace(0, shape[0], min(_STRIPS, shape[0]) + 1).astype(int)
        strips, sound = [], np.zeros(shape[0], bool)
        for first, last in itertools.pairwise(edges):
            start, end = (round(edge * self.facts.height / shape[0]) for edge in (first, last))
            try:
                strip = self._read(bands, Window(start, 0, end - start, self.facts.width), (last - first, shape[1]))
                sound[first:last] = True
            except InputError:
                strip = np.zeros((last - first, shape[1], len(bands)), self.facts.dtype)
            strips.append(strip)
        if 2 * sound.sum() <= len(sound):
            raise error
        found, good = np.concatenate(strips), np.flatnonzero(sound)
        return found[good[np.searchsorted(good, np.arange(len(sound))).clip(max=len(good) - 1)]]

    def _read(self, bands: Sequence[int], window: Window | None, shape: tuple[int, int] | None) -> np.ndarray:
        options: dict[str, Any] = {"window": _rasterio_window(window)}
        if len(self._types) > 1:
            options["out_dtype"] = self.facts.dtype
        stored = [1] if self._palette is not None else [1, 2] if self._is_pair else list(bands)
        if shape is not None:
            options["out_shape"] = (len(stored), *shape)
        with self._reading() as dataset:
            planes = dataset.read(stored, **options)
        if self._palette is not None:
            return self._palette[planes[0]][:, :, [band - 1 for band in bands]]
        if self._is_pair:
            planes = np.hypot(planes[:1].astype(np.float32), planes[1:].astype(np.float32))
        elif planes.dtype.kind == "c":
            planes = np.abs(planes).astype(np.float32)
        return np.moveaxis(planes, 0, 2)

    def mask(self, window: Window | None = None, shape: tuple[int, int] | None = None) -> np.ndarray | None:
        """See `Planes.mask`."""
        if not self._has_mask:
            return None
        options: dict[str, Any] = {"window": _rasterio_window(window)}
        if shape is not None:
            options["out_shape"] = shape
        with self._reading() as dataset:
            return dataset.read_masks(1, **options) > 0

    def close(self) -> None:
        """See `Planes.close`."""
        if self._open is not None:
            self._open.close()
            self._open = None
        self._stack.close()

    @contextmanager
    def _reading(self) -> Iterator[Any]:
        """The open dataset, in GDAL's safe settings, with its errors turned into one that names the file."""
        module = rasterio()
        try:
            with module.Env(**_SAFE), warnings.catch_warnings():
                warnings.simplefilter("ignore", module.errors.NotGeoreferencedWarning)
                if self._open is None:
                    name = self._stack.enter_context(readable_name(self._path.absolute()))
                    self._open = module.open(name, driver=self._kind.driver)
                yield self._open
        except (module.errors.RasterioError, module._err.CPLE_BaseError) as error:
            raise _explained(self._path, self._kind, error) from error

    def _check(self, dataset: Any) -> None:
        """Refuses a file without an image, one that leads elsewhere, and one that can only be decoded at once."""
        if dataset.count == 0:
            raise InputError(f"{self._path}: a {self._kind.name} file without an image")
        if dataset.tags(ns="OVERVIEWS") or dataset.tags(ns="ProxyOverviewRequest"):
            raise InputError(
                f"{self._path}: its tags name another file to read in its place: refusing it; gdal_translate writes a "
                "copy without them"
            )
        block_rows, block_columns = dataset.block_shapes[0]
        size = block_rows * block_columns
        if self._kind.driver in _SEQUENTIAL:
            size = dataset.height * dataset.width * dataset.count
        elif dataset.interleaving is not None and dataset.interleaving.name == "pixel":
            size *= dataset.count
        size *= np.dtype(_plain_type(dataset.dtypes[0])).itemsize
        if size > LARGEST_PIECE:
            raise InputError(
                f"{self._path}: {dataset.width} × {dataset.height} pixels that can only be decoded at once "
                f"({size >> 30} GiB): write it as a tiled GeoTIFF (gdal_translate -co TILED=YES)"
            )

    def _facts(self, dataset: Any, crs: str) -> Facts:
        dtype = np.result_type(*map(np.dtype, self._types))
        structure = dataset.tags(ns="IMAGE_STRUCTURE")
        tags = dataset.tags()
        colours = tuple("" if c.name in _OF_NO_KIND else c.name for c in dataset.colorinterp)
        count, descriptions = dataset.count, tuple(dataset.descriptions)
        nodata = tuple(dataset.nodatavals)
        bits = max(int(dataset.tags(i, ns="IMAGE_STRUCTURE").get("NBITS", 8 * dtype.itemsize)) for i in dataset.indexes)
        notes: tuple[str, ...] = ()
        is_complex = self._is_pair or dtype.kind == "c"
        if self._palette is not None:
            count = self._palette.shape[1]
            dtype, bits, colours = np.dtype(np.uint8), 8, ("red", "green", "blue", "alpha")[:count]
            descriptions, nodata = (None,) * count, self._palette_nodata(nodata[0])
        elif is_complex:
            count, dtype, bits = (1 if self._is_pair else count), np.dtype(np.float32), 32
            nodata, notes = (None,) * count, ("the amplitude of complex values is shown",)
            colours, descriptions = ("",) * count, descriptions[:count]
        if len(dataset.subdatasets) > 1:
            notes += (f"the first of {len(dataset.subdatasets)} images is shown",)
        georeference, told = placing.of_dataset(dataset, self._path, crs)
        return Facts(
            name=str(self._path),
            kind=self._kind.name,
            height=int(dataset.height),
            width=int(dataset.width),
            count=count,
            dtype=dtype,
            bits=bits,
            descriptions=descriptions,
            colours=colours,
            wavelengths=tuple(_wavelength(dataset, i) for i in dataset.indexes)[:count],
            nodata=nodata,
            has_true_alpha=self._kind.driver in _SEQUENTIAL and self._kind is not PNM,
            inverted=structure.get("MINISWHITE") == "YES" and self._palette is None,
            is_sar=is_complex or tags.get("NITF_ICAT", "").startswith("SAR"),
            about=" ".join([self._path.name, *_satellite_tags(tags)]),
            georeference=georeference,
            notes=notes + told,
        )

    def _palette_nodata(self, index: float | None) -> tuple[float | None, ...]:
        """The colour of the palette's entry that means "no data"."""
        assert self._palette is not None
        if index is None or not 0 <= index < len(self._palette) or index != int(index):
            return (None,) * self._palette.shape[1]
        return tuple(float(value) for value in self._palette[int(index)])


@contextmanager
def readable_name(path: Path) -> Iterator[str]:
    """A name by which GDAL can open a file whose own is not UTF-8: a link to it, while the block runs."""
    if _is_utf8(path):
        yield str(path)
        return
    with tempfile.TemporaryDirectory(prefix="rsvl-") as folder:
        link = Path(folder) / "image"
        link.symlink_to(path)
        yield str(link)


@contextmanager
def writable_name(path: Path) -> Iterator[str]:
    """A name by which GDAL can write a file whose own is not UTF-8: another file, copied when the block ends."""
    if _is_utf8(path):
        yield str(path)
        return
    with tempfile.TemporaryDirectory(prefix="rsvl-") as folder:
        other = Path(folder) / "image"
        yield str(other)
        shutil.copyfile(other, path)


def _is_utf8(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _explained(path: Path, kind: Format, error: Exception) -> InputError:
    reason = " ".join(str(error.__cause__ or error).split())
    if any(words in reason.lower() for words in _NOT_SUPPORTED):
        return InputError(f"{path}: {kind.name} of a form that GDAL does not read here ({reason}): convert it")
    return InputError(f"{path}: damaged or truncated {kind.name} ({reason}): download or write it again")


def _plain_type(name: str) -> str:
    """GDAL's complex integers are read as complex64."""
    return "complex64" if name.startswith("complex_int") else name


def _palette(dataset: Any) -> np.ndarray | None:
    """The colours of a paletted file, uint8 [256 or 65536, 3 or, with transparent ones, 4]; None for any other."""
    if dataset.colorinterp[0].name != "palette" or dataset.dtypes[0] not in ("uint8", "uint16"):
        return None
    colours = dataset.colormap(1)
    table = np.zeros((256 if dataset.dtypes[0] == "uint8" else 65536, 4), np.uint8)
    table[:, 3] = 255
    for value, colour in colours.items():
        table[value] = colour
    return table if (table[:, 3] < 255).any() else np.ascontiguousarray(table[:, :3])


def _is_pair_of_parts(dataset: Any) -> bool:
    """Whether a NITF's two bands are the real and the imaginary part of complex values."""
    return dataset.count == 2 and [dataset.tags(i).get("NITF_ISUBCAT") for i in (1, 2)] == ["I", "Q"]


def _orientation(path: Path, kind: Format, tags: dict[str, str]) -> int:
    """The orientation tag, 1 where there is none."""
    if kind is TIFF:
        return tiff_tags.read_tags(path).get(tiff_tags.ORIENTATION, (1,))[0]
    found = tags.get("EXIF_Orientation", "1")
    return int(found) if found.isdigit() else 1


def _wavelength(dataset: Any, band: int) -> float | None:
    """A band's centre in nanometres, where its tags say it."""
    tags = {**dataset.tags(band), **dataset.tags(band, ns="IMAGERY")}
    try:
        if "CENTRAL_WAVELENGTH_UM" in tags:
            return 1000 * float(tags["CENTRAL_WAVELENGTH_UM"])
        value, unit = float(tags["wavelength"]), tags.get("wavelength_units", tags.get("wavelength_unit", "")).lower()
    except (KeyError, ValueError):
        return None
    return 1000 * value if unit.startswith("micro") or (not unit and value < 30) else value


def _satellite_tags(tags: dict[str, str]) -> list[str]:
    words = ("satellite", "spacecraft", "platform", "mission", "sensor")
    return [value[:100] for name, value in tags.items() if any(word in name.lower() for word in words)]


def _rasterio_window(window: Window | None) -> Any:
    if window is None:
        return None
    return rasterio().windows.Window(window.column, window.row, window.width, window.height)
