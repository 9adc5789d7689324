"""GeoTIFFs read whole, by windows and thinned, and written, each against rasterio itself."""

import warnings
from pathlib import Path

import numpy as np
import pytest

from rsvl.runtime.errors import InputError, MissingComponentError, OutputError
from rsvl.runtime.images import raster
from rsvl.runtime.images.georeference import Georeference
from rsvl.runtime.images.reading import read_image
from rsvl.runtime.images.scene import open_scene
from rsvl.runtime.images.tiling import Window
from rsvl.runtime.results.geotiff import write_masks

rasterio = pytest.importorskip("rasterio")

UTM = (10.0, 0.0, 500_000.0, 0.0, -10.0, 4_000_000.0)
TURNED = (8.0, 3.0, 500_000.0, 3.0, -8.0, 4_000_000.0)
RNG = np.random.default_rng(11)
RGB = RNG.integers(1, 256, (90, 70, 3), np.uint8)


def write(path: Path, image: np.ndarray, crs: str | None = "EPSG:32618", transform: tuple = UTM, **options) -> Path:
    height, width, bands = image.shape
    profile = {"driver": "GTiff", "height": height, "width": width, "count": bands, "dtype": image.dtype}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        place = {} if crs is None else {"crs": crs, "transform": rasterio.Affine(*transform)}
        with rasterio.open(path, "w", **profile, **place, **options) as dataset:
            dataset.write(image.transpose(2, 0, 1))
    return path


@pytest.mark.parametrize("layout", [{}, {"tiled": True, "blockxsize": 16, "blockysize": 32}, {"compress": "deflate"}])
def test_windows_are_parts_of_the_whole(tmp_path: Path, layout: dict) -> None:
    scene = open_scene(write(tmp_path / "scene.tif", RGB, **layout))
    assert (scene.height, scene.width) == (90, 70)
    assert np.array_equal(scene.read(), RGB)
    assert np.array_equal(scene.read(Window(20, 5, 40, 30)), RGB[20:60, 5:35])


@pytest.mark.parametrize(
    ("crs", "expected", "metres"),
    [("EPSG:32618", "EPSG:32618", 1.0), ("EPSG:4326", "EPSG:4326", None), ("EPSG:2263", "EPSG:2263", 0.3048006096)],
)
def test_georeference_says_system_transform_and_unit(
    tmp_path: Path, crs: str, expected: str, metres: float | None
) -> None:
    georeference = open_scene(write(tmp_path / "scene.tif", RGB, crs, TURNED)).georeference
    assert georeference.crs == expected
    assert georeference.transform == TURNED
    assert georeference.metres == (None if metres is None else pytest.approx(metres))


def test_system_without_a_code_travels_as_wkt(tmp_path: Path) -> None:
    local = "+proj=tmerc +lat_0=12.5 +lon_0=77.1 +k=1 +x_0=1000 +y_0=0 +ellps=GRS80 +units=m"
    georeference = open_scene(write(tmp_path / "scene.tif", RGB, local)).georeference
    assert rasterio.CRS.from_wkt(georeference.crs) == rasterio.CRS.from_string(local)


def test_plain_tiff_has_no_georeference_and_does_not_warn(tmp_path: Path) -> None:
    path = write(tmp_path / "plain.tif", RGB, crs=None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scene = open_scene(path)
        assert scene.georeference is None
        assert np.array_equal(scene.read(), RGB)


@pytest.mark.parametrize("transform", [UTM, TURNED])
def test_to_world_is_affines_product(transform: tuple) -> None:
    points = RNG.random((5, 2)) * 100
    expected = [rasterio.Affine(*transform) @ tuple(point) for point in points]
    np.testing.assert_allclose(Georeference("EPSG:32618", transform).to_world(points), expected)


def test_pixel_area_is_in_square_metres() -> None:
    assert Georeference("EPSG:32618", TURNED, 1.0).pixel_area == pytest.approx(8 * 8 + 3 * 3)
    assert Georeference("EPSG:2263", UTM, 0.3048).pixel_area == pytest.approx(100 * 0.3048**2)
    assert Georeference("EPSG:4326", UTM).pixel_area is None


def test_nodata_makes_pixels_invalid_everywhere_it_is_read(tmp_path: Path) -> None:
    image = RGB.copy()
    image[:30, :20] = 0
    scene = open_scene(write(tmp_path / "scene.tif", image, nodata=0))
    expected = np.ones((90, 70), bool)
    expected[:30, :20] = False
    assert np.array_equal(scene.valid(), expected)
    assert np.array_equal(scene.valid(Window(10, 10, 40, 40)), expected[10:50, 10:50])


def test_alpha_band_makes_pixels_invalid(tmp_path: Path) -> None:
    alpha = np.where(RGB[:, :, :1] > 100, 255, 0).astype(np.uint8)
    scene = open_scene(write(tmp_path / "scene.tif", np.dstack([RGB, alpha]), photometric="RGB", alpha="YES"))
    assert np.array_equal(scene.valid(), alpha[:, :, 0] > 0)
    assert np.array_equal(scene.read(), RGB)


def test_scene_without_nodata_is_all_valid(tmp_path: Path) -> None:
    assert open_scene(write(tmp_path / "scene.tif", RGB)).valid() is None


def test_palette_gives_its_colours(tmp_path: Path) -> None:
    path = write(tmp_path / "scene.tif", RGB[:, :, :1] % 4)
    colours = {0: (10, 20, 30, 255), 1: (200, 0, 0, 255), 2: (0, 99, 0, 255), 3: (1, 2, 3, 255)}
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, colours)
    expected = np.array([colours[v][:3] for v in range(4)], np.uint8)[RGB[:, :, 0] % 4]
    assert np.array_equal(read_image(path), expected)


def test_near_infrared_band_is_dropped_and_more_are_refused(tmp_path: Path) -> None:
    four = write(tmp_path / "four.tif", np.dstack([RGB, RGB[:, :, :1]]), photometric="RGB", alpha="NO")
    assert np.array_equal(read_image(four), RGB)
    with pytest.raises(InputError, match="6 bands and does not say"):
        read_image(write(tmp_path / "six.tif", np.dstack([RGB, RGB])))


def test_windows_of_wide_types_share_one_stretch(tmp_path: Path) -> None:
    wide = RNG.integers(0, 4000, (90, 70, 3)).astype(np.uint16)
    wide[:40] *= 5
    wide[80:] = 65535
    with pytest.warns(UserWarning, match="stretched") as caught:
        scene = open_scene(write(tmp_path / "scene.tif", wide, nodata=65535))
    whole = scene.read()
    assert np.array_equal(scene.read(Window(10, 20, 50, 30)), whole[10:60, 20:50])
    assert len(caught) == 1
    low, high = np.percentile(wide[:80], (2, 98))  # nodata does not count
    expected = np.clip((wide[:80] - low) / (high - low) * 255, 0, 255)
    assert np.abs(whole[:80] - expected).max() <= 1


def test_thumbnail_keeps_proportions_and_never_enlarges(tmp_path: Path) -> None:
    for scene in (open_scene(write(tmp_path / "scene.tif", RGB)), open_scene(RGB)):
        assert scene.thumbnail(45).shape == (45, 35, 3)
        assert np.array_equal(scene.thumbnail(500), RGB)


def test_closed_scene_can_be_read_again(tmp_path: Path) -> None:
    scene = open_scene(write(tmp_path / "scene.tif", RGB))
    scene.close()
    assert np.array_equal(scene.read(), RGB)


@pytest.mark.parametrize("kept", [4, 200, 12_000])
def test_truncated_geotiff_is_refused_in_one_line(tmp_path: Path, kept: int) -> None:
    path = write(tmp_path / "scene.tif", RGB, compress="deflate")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"scene\.tif") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


def test_without_rasterio_a_geotiff_is_read_and_its_loss_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "scene.tif", RGB)
    monkeypatch.setattr(raster, "available", lambda: False)
    with pytest.warns(UserWarning, match=r"rsvl\[geo\]"):
        scene = open_scene(path)
    assert scene.georeference is None
    assert np.array_equal(scene.read(), RGB)


def test_without_rasterio_writing_a_geotiff_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "rasterio", None)
    with pytest.raises(MissingComponentError, match=r"pip install 'rsvl\[geo\]'"):
        write_masks(tmp_path / "mask.tif", [RGB[:, :, 0] > 9], ["a"], None)


@pytest.mark.parametrize("georeference", [Georeference("EPSG:32618", TURNED, 1.0), None])
def test_masks_come_back_from_the_file_with_their_place(tmp_path: Path, georeference: Georeference | None) -> None:
    masks, names = [RGB[:, :, 0] > 99, RGB[:, :, 1] > 200], ["the röd ship", "a pier"]
    write_masks(tmp_path / "mask.tif", masks, names, georeference)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(tmp_path / "mask.tif") as dataset:
            assert np.array_equal(dataset.read(), np.stack(masks).astype(np.uint8))
            assert list(dataset.descriptions) == names
            assert (dataset.crs is None) == (georeference is None)
            if georeference:
                assert dataset.crs.to_epsg() == 32618 and tuple(dataset.transform)[:6] == TURNED
    assert [p.name for p in tmp_path.iterdir()] == ["mask.tif"]


def test_mask_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="nowhere"):
        write_masks(tmp_path / "nowhere" / "mask.tif", [RGB[:, :, 0] > 9], ["a"], None)
    assert list(tmp_path.iterdir()) == []
