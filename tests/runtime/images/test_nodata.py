"""Which pixels hold no data, in every container by the same rule."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rsvl.runtime.images.options import ReadOptions
from rsvl.runtime.images.reading import read_image
from rsvl.runtime.images.scene import ImageSource, open_scene
from rsvl.runtime.images.tiling import Window
from tests.support.installed import needs
from tests.support.rasters import write_raster

RNG = np.random.default_rng(2)
RGB = RNG.integers(1, 255, (40, 50, 3), np.uint8)
VOID = np.zeros((40, 50), bool)
VOID[:12, :20] = True
ALPHA = np.where(VOID, 0, 255).astype(np.uint8)
REFLECTANCE = (RNG.beta(2, 8, (40, 50, 3)) * 0.4).astype(np.float32)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def void_of(source: ImageSource, **options: object) -> np.ndarray:
    scene = open_scene(source, options=ReadOptions(**options))  # type: ignore[arg-type]
    valid = scene.valid()
    part = scene.valid(Window(5, 10, 20, 30))
    scene.close()
    assert (valid is None and part is None) or np.array_equal(valid[5:25, 10:40], part)
    return np.zeros(VOID.shape, bool) if valid is None else ~valid


def filled(values: np.ndarray, fill: float) -> np.ndarray:
    return np.where(VOID[:, :, None], np.array(fill, values.dtype), values)


@needs("rasterio")
def test_transparent_pixels_are_void_whatever_holds_them(tmp_path: Path) -> None:
    rgba = np.dstack([RGB, ALPHA])
    Image.fromarray(rgba).save(tmp_path / "a.png")
    Image.fromarray(rgba).save(tmp_path / "a.webp", lossless=True, exact=True)
    sources: list[ImageSource] = [
        tmp_path / "a.png",
        tmp_path / "a.webp",
        Image.fromarray(rgba),
        rgba,
        rgba.astype(np.uint16) * 257,
        write_raster(tmp_path / "a.tif", rgba, photometric="RGB", alpha="YES"),
    ]
    for source in sources:
        assert np.array_equal(void_of(source), VOID)
        assert np.array_equal(read_image(source), RGB)


def test_transparent_colour_of_a_palette_is_void() -> None:
    image = Image.fromarray(ALPHA // 255).convert("P")
    image.info["transparency"] = 0
    assert np.array_equal(void_of(image), VOID)


@pytest.mark.parametrize("alpha", ["YES", "NO", "UNSPECIFIED"])
def test_near_infrared_is_no_alpha(tmp_path: Path, alpha: str) -> None:
    infrared = RNG.integers(0, 200, (40, 50), np.uint8)
    infrared[:15] = 0  # water
    path = write_raster(tmp_path / "rgbn.tif", np.dstack([RGB, infrared]), photometric="RGB", alpha=alpha)
    assert not void_of(path).any() and np.array_equal(read_image(path), RGB)


def test_near_infrared_called_alpha_is_told(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "rgbn.tif", np.dstack([RGB, RGB[:, :, 0]]), photometric="RGB", alpha="YES")
    with pytest.warns(UserWarning, match="band 4 is labelled alpha but is no mask"):
        open_scene(path).close()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_that_are_no_numbers_are_void_without_a_tag(tmp_path: Path, dtype: str) -> None:
    values = filled(REFLECTANCE.astype(dtype), np.nan)
    values[20, 30, 1] = np.inf  # in one band
    expected = VOID.copy()
    expected[20, 30] = True
    for source in (values, write_raster(tmp_path / "nan.tif", values)):
        assert np.array_equal(void_of(source), expected)
        assert (read_image(source)[:12, :20] == 0).all()


@pytest.mark.parametrize("fill", [-9999.0, -32768.0, float(np.finfo(np.float32).min)])
def test_undeclared_fill_value_is_void_and_told(tmp_path: Path, fill: float) -> None:
    values = filled(REFLECTANCE, fill)
    for source in (values, write_raster(tmp_path / "fill.tif", values)):
        assert np.array_equal(void_of(source), VOID)
        with pytest.warns(UserWarning, match=re.escape(f"{fill:g} taken for no data")):
            scene = open_scene(source)
        inside = REFLECTANCE[~VOID]
        low, high = np.percentile(inside, (2, 98))  # the collar counts for nothing
        expected = np.clip((inside.astype(np.float64) - low) / (high - low), 0, 1) * 255
        assert np.abs(scene.read()[~VOID] - expected).max() <= 1
        assert not void_of(source, nodata="none").any()


def test_zero_is_void_only_where_it_stands_apart(tmp_path: Path) -> None:
    landsat = filled(RNG.integers(7000, 15000, (40, 50, 3)).astype(np.uint16), 0)
    assert np.array_equal(void_of(write_raster(tmp_path / "landsat.tif", landsat)), VOID)
    dark = filled(RNG.integers(1, 3000, (40, 50, 3)).astype(np.uint16), 0)
    assert not void_of(write_raster(tmp_path / "dark.tif", dark)).any()


def test_darkest_value_of_8_bits_is_no_fill() -> None:
    assert not void_of(filled(RGB, 0)).any()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_value_asked_for_is_void_where_all_shown_bands_have_it(tmp_path: Path, dtype: str) -> None:
    values = filled(RGB.astype(dtype) * 2 if dtype != "uint8" else RGB, 7)
    values[30, 30] = 9
    values[30, 30, 0] = 7  # one band of three
    for source in (values, write_raster(tmp_path / "a.tif", values)):
        assert np.array_equal(void_of(source, nodata=7.0), VOID)


def test_file_s_own_value_gives_way_to_the_one_asked_for(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", filled(RGB, 255), nodata=255)
    assert np.array_equal(void_of(path), VOID)
    assert not void_of(path, nodata=0.0).any()
    assert not void_of(path, nodata="none").any()


def test_mask_of_a_file_is_taken(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        path = write_raster(tmp_path / "a.tif", RGB)
        with rasterio.open(path, "r+") as dataset:
            dataset.write_mask(ALPHA)
    assert np.array_equal(void_of(path), VOID)


@pytest.mark.parametrize(
    "source", [np.full((8, 9, 3), np.nan, np.float32), np.zeros((8, 9, 4), np.uint8)], ids=["NaN", "transparent"]
)
def test_image_without_any_data_is_told(source: np.ndarray) -> None:
    with pytest.warns(UserWarning, match="no pixel holds data"):
        scene = open_scene(source)
    assert not scene.valid().any()
