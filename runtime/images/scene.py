"""What a model is shown: an image, in memory or on disk, as 8-bit RGB with a map of where it holds data.

This is the one way from any source to pixels. Its steps, each a module with its rule:

1. what a file is (`formats`), and opening it as that and nothing else (`raster`, `pillow_images`);
2. what is known of it before a pixel is read (`planes.Facts`): bit depth, names, labels, place (`placing`);
3. which bands are shown (`bands`), which pixels are void (`nodata`), how values become 8 bits (`stretch`);
4. what of that was guessed (`notes.Reading`): told in one line, and kept with the results.

So an image gives the same answer whatever holds it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from PIL import Image

from rsvl.runtime.errors import InputError
from rsvl.runtime.extras import remedy
from rsvl.runtime.images import pillow_images, placing, raster, tiff_tags
from rsvl.runtime.images.band_names import POLARIZATIONS, plain
from rsvl.runtime.images.bands import Choice, choose_bands
from rsvl.runtime.images.formats import JPEG_2000, TIFF, Format, existing_file, identify
from rsvl.runtime.images.georeference import Georeference
from rsvl.runtime.images.nodata import guess_fill, looks_like_mask, void_pixels
from rsvl.runtime.images.notes import NO_DATA, Reading, printable
from rsvl.runtime.images.options import ReadOptions
from rsvl.runtime.images.planes import ArrayPlanes, Planes
from rsvl.runtime.images.stretch import PERCENTILES, Stretch, find_stretch, nearly_one_colour
from rsvl.runtime.images.tiling import Window, told_of_resolution
from rsvl.runtime.manifest import ImageSpec

ImageSource: TypeAlias = "str | Path | np.ndarray | Image.Image | Scene"
"""A path, an array [H, W] or [H, W, C] of any real dtype, a Pillow image, or a scene."""

#: Longest side, in pixels, of the thinned-out copy from which no data and stretch are found.
_SAMPLE_SIDE = 1024


class Scene(Protocol):
    """An image that can be read in part.

    Attributes:
        height: rows.
        width: columns.
        georeference: where it lies on the ground, if that is known.
    """

    height: int
    width: int
    georeference: Georeference | None

    def read(self, window: Window | None = None) -> np.ndarray:
        """The pixels of the scene or of a window, uint8 [h, w, 3]."""

    def valid(self, window: Window | None = None) -> np.ndarray | None:
        """Which pixels hold data, bool [h, w]; None when all do."""

    def thumbnail(self, side: int) -> np.ndarray:
        """The scene with at most `side` pixels on its longer side, uint8 [h, w, 3]."""

    def close(self) -> None:
        """Releases the file, if there is one. The scene may be read again."""


class ImageScene:
    """An image as a scene, read by the module's rules.

    Attributes:
        reading: how it was read.
        height: rows.
        width: columns.
        georeference: where it lies, None where that is not known.
    """

    def __init__(self, planes: Planes, spec: ImageSpec | None = None, options: ReadOptions | None = None) -> None:
        """Finds how an image is to be read.

        Args:
            planes: its values.
            spec: the model's image input, whose bands and stretch are taken and which may know no SAR.
            options: what the user asks for.

        Raises:
            InputError: a band that it has not, bands of which nothing says which to show, or a damaged file.
        """
        facts, options = planes.facts, options or ReadOptions()
        self._planes, self._facts = planes, facts
        self.height, self.width, self.georeference = facts.height, facts.width, facts.georeference
        self._last: tuple[Any, np.ndarray] | None = None
        notes = list(facts.notes)
        self._shape = _thinned(self.height, self.width, _SAMPLE_SIDE)
        self._alpha = self._find_alpha(notes)
        choice = self._choose(options.bands or (spec.bands if spec else ()))
        self._bands = choice.numbers
        names = tuple(facts.descriptions[n - 1] if n <= len(facts.descriptions) else None for n in self._bands)
        sample, void = self._sample(options, notes)
        valid = sample[~void] if void is not None else sample.reshape(-1, sample.shape[2])
        is_sar = facts.is_sar or options.sensor == "sar" or (spec is not None and spec.sensors == ("sar",))
        is_sar = is_sar or any(POLARIZATIONS.search(plain(name)) for name in names)
        percentiles = PERCENTILES if spec is None else spec.stretch
        stretch = find_stretch(valid, facts.bits, sar=is_sar, asked=options.stretch, percentiles=percentiles)
        self._stretch = stretch.inverted() if facts.inverted else stretch
        if choice.guessed:
            notes.insert(0, _said_of_bands(choice, names))
        self._judge(valid, stretch, spec, is_sar, notes)
        self.reading = self._record(choice, names, stretch, len(valid) / max(1, sample[..., 0].size), notes)

    def read(self, window: Window | None = None) -> np.ndarray:
        """See `Scene.read`; a view of an 8-bit array.

        Raises:
            InputError: the file is truncated or damaged.
        """
        return self._rgb(self._values(window))

    def valid(self, window: Window | None = None) -> np.ndarray | None:
        """See `Scene.valid`."""
        void = self._void(window)
        return None if void is None else ~void

    def thumbnail(self, side: int) -> np.ndarray:
        """See `Scene.thumbnail`."""
        return self._rgb(self._planes.read(self._bands, shape=_thinned(self.height, self.width, side)))

    def close(self) -> None:
        """See `Scene.close`."""
        self._last = None
        self._planes.close()

    def _values(self, window: Window | None) -> np.ndarray:
        """The shown bands' values; the last window's are kept, since its pixels and its void are asked for in turn."""
        if self._last is None or self._last[0] != window:
            self._last = (window, self._planes.read(self._bands, window))
        return self._last[1]

    def _rgb(self, values: np.ndarray) -> np.ndarray:
        pixels = self._stretch.apply(values)
        return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels

    def _void(self, window: Window | None = None, shape: tuple[int, int] | None = None) -> np.ndarray | None:
        """Which pixels hold no data, bool [h, w]; None when all do."""
        parts = []
        if self._facts.dtype.kind == "f" or any(value is not None for value in self._nodata):
            values = self._values(window) if shape is None else self._planes.read(self._bands, shape=shape)
            parts.append(void_pixels(values, self._nodata))
        if self._alpha is not None:
            parts.append(self._planes.read([self._alpha], window, shape)[:, :, 0] == 0)
        mask = self._planes.mask(window, shape)
        if mask is not None:
            parts.append(~mask)
        found = [part for part in parts if part is not None]
        return np.logical_or.reduce(found) if found else None

    def _find_alpha(self, notes: list[str]) -> int | None:
        """The number of the alpha band, None where there is none."""
        facts = self._facts
        labelled = [number for number, colour in enumerate(facts.colours, start=1) if colour == "alpha"]
        if facts.has_true_alpha:
            return labelled[0] if labelled else None
        unlabelled = [facts.count] if facts.kind == "array" and facts.count in (2, 4) else []
        if not (labelled or unlabelled):
            return None
        number = (labelled or unlabelled)[0]
        alpha = self._planes.read([number], shape=self._shape)
        if looks_like_mask(alpha):
            return number
        if labelled:
            notes.append(f"band {number} is labelled alpha but is no mask: not taken for transparency")
        return None

    def _choose(self, wanted: tuple[str | int, ...]) -> Choice:
        facts = self._facts
        count = facts.count - (self._alpha == facts.count)
        return choose_bands(
            count,
            wanted,
            facts.descriptions[:count],
            facts.colours[:count],
            facts.name,
            wavelengths=facts.wavelengths,
            about=facts.about,
        )

    def _sample(self, options: ReadOptions, notes: list[str]) -> tuple[np.ndarray, np.ndarray | None]:
        """A thinned-out copy of the shown bands and where it is void; finds the value that means "no data"."""
        declared = [self._facts.nodata[n - 1] if n <= len(self._facts.nodata) else None for n in self._bands]
        self._nodata: tuple[float | None, ...] = tuple(declared)
        if options.nodata is not None:
            value = None if options.nodata == "none" else float(options.nodata)
            self._nodata = (value,) * len(self._bands)
        sample = self._planes.read(self._bands, shape=self._shape)
        void = self._void(shape=self._shape)
        if options.nodata is None and not any(value is not None for value in declared) and self._is_wide:
            fill = guess_fill(sample[~void] if void is not None else sample.reshape(-1, sample.shape[2]))
            if fill is not None:
                self._nodata = (fill,) * len(self._bands)
                void = self._void(shape=self._shape)
                notes.append(f"{fill:g} taken for no data (--nodata none keeps it)")
        return sample, void

    @property
    def _is_wide(self) -> bool:
        """Whether the values have more than 8 bits."""
        return self._facts.dtype.kind in "if" or self._facts.bits > 8

    def _judge(
        self, valid: np.ndarray, stretch: Stretch, spec: ImageSpec | None, is_sar: bool, notes: list[str]
    ) -> None:
        """Notes how values became 8 bits, and what makes an answer less trustworthy."""
        if stretch.guessed and len(valid):
            notes.append(f"{stretch.how} (--stretch)")
        if len(self._bands) == 1 and spec is not None and "sar" not in spec.sensors:
            notes.append(
                "one band is shown, as gray: the model has learned optical images; a SAR image needs a model that "
                "takes SAR"
            )
        place = self.georeference
        self._resolution = place.resolution(self.height, self.width) if place else None
        if spec is not None and (told := told_of_resolution(spec, self._resolution)):
            notes.append(told)
        if not len(valid):
            notes.append(NO_DATA)
        elif said := nearly_one_colour(self._rgb(valid[None])[0]):
            notes.append(said)

    def _record(
        self, choice: Choice, names: tuple[str | None, ...], stretch: Stretch, share: float, notes: list[str]
    ) -> Reading:
        place = self.georeference
        return Reading(
            source=self._facts.name,
            kind=self._facts.kind,
            size=(self.width, self.height),
            dtype=str(self._facts.dtype),
            bands=self._bands,
            band_names=names,
            bands_by=choice.by,
            stretch=stretch.how,
            limits=(self._stretch.low, self._stretch.high),
            nodata=self._nodata[0],
            alpha=self._alpha,
            valid_share=share,
            placed_by=place.how if place else "",
            crs=place.crs if place else "",
            resolution=self._resolution,
            notes=[printable(note) for note in notes],
        )


def open_scene(source: ImageSource, spec: ImageSpec | None = None, options: ReadOptions | None = None) -> Scene:
    """Opens an image to show it to a model, and tells in one warning what was guessed of it.

    A raster (TIFF, JPEG 2000, VRT, NITF, ERDAS Imagine) is read by windows through rasterio where that is installed, so
    that memory does not grow with its size; anything else is read whole (300 MB for 10 000 × 10 000 pixels).

    Args:
        source: a path, an array [H, W] or [H, W, C], a Pillow image, or a scene, which is given back as it is.
        spec: the model's image input, whose bands and stretch are taken; None for the usual.
        options: how the image is to be read where the usual guesses do not fit.

    Raises:
        InputError: missing, damaged, not an image, without pixels, without a band that is asked for, or with bands of
            which nothing says which to show.
        MissingComponentError: of a kind that needs rasterio, which is not installed.
    """
    if not isinstance(source, str | Path | np.ndarray | Image.Image) and hasattr(source, "georeference"):
        return source
    planes = open_planes(source, (options or ReadOptions()).crs)  # type: ignore[arg-type]
    try:
        scene = ImageScene(planes, spec, options)
    except BaseException:
        planes.close()
        raise
    scene.reading.tell()
    return scene


def open_planes(source: str | Path | np.ndarray | Image.Image, crs: str = "") -> Planes:
    """The values of an image; see `open_scene` for the arguments and errors."""
    if isinstance(source, np.ndarray):
        return pillow_images.from_array(source, "the array")
    if isinstance(source, Image.Image):
        return pillow_images.from_pillow(source, "the image")
    path = existing_file(source)
    kind = identify(path)
    by_gdal = not kind.pillow or kind in (TIFF, JPEG_2000) or pillow_images.has_wide_channels(path, kind)
    if by_gdal and raster.available():
        return raster.open_raster(path, kind, crs)
    if not kind.pillow:
        raster.rasterio()
    try:
        return _placed(pillow_images.read_with_pillow(path, kind), path, kind, crs)
    except pillow_images.TooLargeError as error:
        if kind.driver and raster.available():
            return raster.open_raster(path, kind, crs)
        raise InputError(
            f"{path}: a {kind.name} of more pixels than Pillow reads: {remedy('rasterio')}, or write it as a tiled "
            "GeoTIFF (gdal_translate -co TILED=YES)"
        ) from error


def _placed(planes: ArrayPlanes, path: Path, kind: Format, crs: str) -> Planes:
    """An image with the place that files beside it give it."""
    if raster.available():
        georeference, notes = placing.beside_image(path, crs)
    else:
        lost = placing.has_place_beside(path) or (kind is TIFF and tiff_tags.GEO_KEYS in tiff_tags.read_tags(path))
        notes = (f"its georeference is ignored: {remedy('rasterio')} to keep it",) if lost else ()
        georeference = None
    planes.facts = replace(planes.facts, georeference=georeference, notes=notes, about=path.name)
    return planes


def _said_of_bands(choice: Choice, names: tuple[str | None, ...]) -> str:
    numbers = ", ".join(map(str, choice.numbers))
    called = f" ({', '.join(str(name) for name in names)})" if any(names) else ""
    if len(choice.numbers) == 1:
        return f"band {numbers}{called} is shown as gray, {choice.by} (--bands)"
    return f"bands {numbers}{called} are shown as red, green, blue by {choice.by} (--bands)"


def _thinned(height: int, width: int, side: int) -> tuple[int, int]:
    """Rows and columns of a copy with at most `side` pixels on its longer side."""
    factor = max(1.0, max(height, width) / side)
    return max(1, round(height / factor)), max(1, round(width / factor))
