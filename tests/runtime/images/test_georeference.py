"""Where images lie: by transforms, points, RPCs and files beside them; areas against closed formulas and UTM."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rsvl.runtime.errors import InputError
from rsvl.runtime.images.geodesy import signed_area
from rsvl.runtime.images.georeference import Georeference, overlap
from rsvl.runtime.images.options import ReadOptions
from rsvl.runtime.images.scene import open_scene
from rsvl.runtime.results.geotiff import write_masks
from tests.support.installed import needs
from tests.support.rasters import UTM, write_raster

GRAY = np.random.default_rng(1).integers(0, 256, (30, 40, 1), np.uint8)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def test_area_of_the_ellipsoid_s_octant() -> None:
    octant = np.array([[0.0, 0.0], [90.0, 0.0], [90.0, 90.0], [0.0, 90.0]])
    assert signed_area(octant) * 8 == pytest.approx(510_065_621.724e6, rel=1e-12)  # WGS 84's surface, GRS literature
    assert signed_area(octant[::-1]) == -signed_area(octant)


@pytest.mark.parametrize("latitude", [0.0, 45.0, 60.0, -80.0])
def test_small_area_is_that_of_the_local_radii(latitude: float) -> None:
    step, a, e2 = 1e-3, 6_378_137.0, 0.0066943799901413165
    ring = np.array([[9, latitude], [9 + step, latitude], [9 + step, latitude + step], [9, latitude + step]])
    middle = math.radians(latitude + step / 2)
    w = math.sqrt(1 - e2 * math.sin(middle) ** 2)
    meridian, normal = a * (1 - e2) / w**3, a / w
    expected = meridian * normal * math.cos(middle) * math.radians(step) ** 2
    assert signed_area(ring) == pytest.approx(expected, rel=1e-9)


def test_area_across_the_antimeridian_and_around_a_pole() -> None:
    ring = np.array([[179.0, 10.0], [-179.0, 10.0], [-179.0, 11.0], [179.0, 11.0]])
    assert signed_area(ring) == pytest.approx(signed_area(ring - (170.0, 0.0) + np.where(ring < 0, 360, 0) * (1, 0)))
    cap = np.stack([np.arange(-180.0, 180.0, 5.0), np.full(72, 80.0)], axis=1)
    quarter = np.array([[0.0, 80.0], [90.0, 80.0], [90.0, 90.0], [0.0, 90.0]])
    assert signed_area(cap) == pytest.approx(4 * signed_area(quarter))
    assert signed_area(cap[::-1] * (1, -1)) == pytest.approx(signed_area(cap))


@needs("rasterio")
@pytest.mark.parametrize(("latitude", "factor"), [(0, 1.0), (45, math.sqrt(0.5)), (60, 0.5)])
def test_resolution_of_web_mercator_is_that_on_the_ground(latitude: float, factor: float) -> None:
    y = 6_378_137 * math.log(math.tan(math.pi / 4 + math.radians(latitude) / 2))
    place = Georeference("EPSG:3857", (2.0, 0.0, 1e6, 0.0, -2.0, y), 1.0)
    assert place.resolution(2, 2) == pytest.approx(2 * factor, rel=0.005)  # Web Mercator takes the ellipsoid for a ball


@needs("rasterio")
def test_system_without_a_transform_is_no_place(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", GRAY, "EPSG:32633", (1, 0, 0, 0, 1, 0))
    with pytest.warns(UserWarning, match="a coordinate system without a transform: not georeferenced"):
        assert open_scene(path).georeference is None


@needs("rasterio")
def test_transform_without_a_system_is_kept_told_and_completed(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", GRAY, transform=UTM)
    with pytest.warns(UserWarning, match="a transform without a coordinate system: name it with --crs"):
        place = open_scene(path).georeference
    assert (place.crs, place.transform) == ("", UTM) and place.to_wgs84(np.zeros((1, 2))) is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        placed = open_scene(path, options=ReadOptions(crs="EPSG:32618", stretch=None)).georeference
    assert placed == Georeference("EPSG:32618", UTM, 1.0)
    with pytest.raises(InputError, match="--crs 'nowhere' is no coordinate system"):
        open_scene(path, options=ReadOptions(crs="nowhere"))


def grid_of_points(bend: float = 0.0) -> list[tuple[float, float, float, float]]:
    """Columns, rows, longitudes, latitudes."""
    return [
        (column, row, 10 + 0.01 * column / 40 + bend * row**2, 50 - 0.01 * row / 30)
        for row in (0, 15, 30)
        for column in (0, 20, 40)
    ]


def with_points(path: Path, points: list[tuple[float, float, float, float]]) -> Path:
    rasterio = pytest.importorskip("rasterio")
    from rasterio.control import GroundControlPoint

    write_raster(path, GRAY)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(path, "r+") as dataset:
            dataset.gcps = [GroundControlPoint(r, c, x, y) for c, r, x, y in points], rasterio.CRS.from_epsg(4326)
    return path


@pytest.mark.parametrize("bend", [0.0, 1e-6])
def test_control_points_place_every_pixel(tmp_path: Path, bend: float) -> None:
    path = with_points(tmp_path / "a.tif", grid_of_points(bend))
    with pytest.warns(UserWarning, match="placed by 9 ground control points"):
        scene = open_scene(path)
    place = scene.georeference
    for column, row, longitude, latitude in grid_of_points(bend):
        assert place.to_wgs84(np.array([column, row])) == pytest.approx([longitude, latitude], abs=1e-9)
    assert place.mirrors and scene.reading.placed_by == "control points"
    assert scene.reading.resolution == pytest.approx(math.sqrt(17.9 * 37.1), rel=0.01)


def test_masks_carry_control_points(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    place = open_scene(with_points(tmp_path / "a.tif", grid_of_points())).georeference
    write_masks(tmp_path / "masks.tif", [GRAY[:, :, 0] > 99], ["a"], place)
    with rasterio.open(tmp_path / "masks.tif") as dataset:
        points, crs = dataset.gcps
    assert crs.to_epsg() == 4326 and [(p.col, p.row, p.x, p.y) for p in points] == grid_of_points()


def test_control_points_in_one_place_are_told(tmp_path: Path) -> None:
    path = with_points(tmp_path / "a.tif", [(c, r, 10.0, 50.0) for c, r, *_ in grid_of_points()])
    with pytest.warns(UserWarning, match="ground control points that give no place"):
        assert open_scene(path).georeference is None


def test_rpcs_place_every_pixel_and_are_carried_on(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    from rasterio.rpc import RPC

    one, zero = [1.0] + [0.0] * 19, [0.0] * 20
    rpcs = RPC(  # line = -latitude, sample = longitude, both linear
        height_off=100.0, height_scale=500.0, lat_off=50.0, lat_scale=0.1, long_off=10.0, long_scale=0.2,
        line_off=15.0, line_scale=15.0, samp_off=20.0, samp_scale=20.0,
        line_num_coeff=[0.0, 0.0, -1.0, *zero[3:]], line_den_coeff=one,
        samp_num_coeff=[0.0, 1.0, *zero[2:]], samp_den_coeff=one, err_bias=None, err_rand=None,
    )  # fmt: skip
    path = write_raster(tmp_path / "a.tif", GRAY, rpcs=rpcs)
    with pytest.warns(UserWarning, match="placed by its RPCs at their height of 100 m, without a terrain model"):
        scene = open_scene(path)
    place = scene.georeference
    for column, row in ((20.5, 15.5), (0.5, 0.5), (40.5, 30.5)):  # RPCs count from pixel centres
        expected = [10 + (column - 20.5) / 20 * 0.2, 50 - (row - 15.5) / 15 * 0.1]
        assert place.to_wgs84(np.array([column, row])) == pytest.approx(expected, abs=1e-3)
    write_masks(tmp_path / "masks.tif", [GRAY[:, :, 0] > 99], ["a"], place)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(tmp_path / "masks.tif") as dataset:
            assert dataset.rpcs.lat_off == 50.0 and dataset.rpcs.line_num_coeff == rpcs.line_num_coeff


WORLD = "10.0\n0.0\n0.0\n-10.0\n500005.0\n3999995.0\n"
AUX = (
    "<PAMDataset><SRS dataAxisToSRSAxisMapping='1,2'>EPSG:32618</SRS>"
    "<GeoTransform> 5.0e+05, 1.0e+01, 0, 4.0e+06, 0, -1.0e+01</GeoTransform></PAMDataset>"
)


@needs("rasterio")
@pytest.mark.parametrize(
    ("image", "beside"),
    [
        ("a.png", {"a.pgw": WORLD, "a.prj": "EPSG:32618"}),
        ("a.jpg", {"a.jgw": WORLD, "a.prj": "EPSG:32618"}),
        ("a.tif", {"a.TFW": WORLD, "a.prj": "EPSG:32618"}),
        ("a.png", {"a.wld": WORLD.replace(".", ","), "a.PRJ": "EPSG:32618"}),
        ("a.png", {"a.png.aux.xml": AUX}),
        ("a.bmp", {"a.bmp.aux.xml": AUX, "a.bpw": "9 0 0 -9 0 0"}),
    ],
)
def test_files_beside_a_picture_place_it(tmp_path: Path, image: str, beside: dict[str, str]) -> None:
    Image.fromarray(GRAY[:, :, 0]).convert("RGB").save(tmp_path / image)
    for name, text in beside.items():
        (tmp_path / name).write_text(text)
    with pytest.warns(UserWarning, match=f"placed by {next(iter(beside))}"):
        scene = open_scene(tmp_path / image)
    assert scene.georeference == Georeference("EPSG:32618", UTM, 1.0)


@needs("rasterio")
def test_world_file_without_a_system_is_completed_by_hand(tmp_path: Path) -> None:
    Image.fromarray(GRAY[:, :, 0]).save(tmp_path / "a.png")
    (tmp_path / "a.pgw").write_text(WORLD)
    assert open_scene(tmp_path / "a.png").georeference == Georeference("", UTM)
    placed = open_scene(tmp_path / "a.png", options=ReadOptions(crs="EPSG:32618"))
    assert placed.georeference == Georeference("EPSG:32618", UTM, 1.0)


@pytest.mark.parametrize("text", ["", "1 2 3", "x " * 6, "nan 0 0 1 0 0", "0 0 0 0 5 5", AUX[:50]])
def test_unusable_files_beside_are_passed_over(tmp_path: Path, text: str) -> None:
    Image.fromarray(GRAY[:, :, 0]).save(tmp_path / "a.png")
    (tmp_path / "a.pgw").write_text(text)
    (tmp_path / "a.png.aux.xml").write_text(text)
    assert open_scene(tmp_path / "a.png").georeference is None


@needs("rasterio")
def test_file_s_own_place_comes_before_what_lies_beside(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", GRAY, "EPSG:32618")
    (tmp_path / "a.tfw").write_text("1 0 0 -1 0 0")
    assert open_scene(path).georeference == Georeference("EPSG:32618", UTM, 1.0)


@needs("rasterio")
def test_datum_shift_of_a_file_s_own_is_kept(tmp_path: Path) -> None:
    shifted = "+proj=utm +zone=33 +ellps=WGS84 +towgs84=100,50,-20,0,0,0,0 +units=m"
    place = open_scene(write_raster(tmp_path / "a.tif", GRAY, shifted)).georeference
    assert "TOWGS84[100,50,-20" in place.crs
    plain = open_scene(write_raster(tmp_path / "b.tif", GRAY, "EPSG:32633")).georeference
    assert plain.crs == "EPSG:32633"
    moved = place.to_wgs84(np.zeros(2)) - plain.to_wgs84(np.zeros(2))
    assert 5e-5 < np.abs(moved).max() < 5e-3


@needs("rasterio")
def test_place_that_is_not_on_earth_has_no_longitude(tmp_path: Path) -> None:
    mars = "+proj=eqc +a=3396190 +b=3396190 +units=m"
    place = open_scene(write_raster(tmp_path / "a.tif", GRAY, mars)).georeference
    assert place.crs and place.to_wgs84(np.zeros(2)) is None
    assert place.resolution(30, 40) == pytest.approx(10)


@pytest.mark.parametrize(
    ("second", "share"),
    [((10, 50, 11, 51), 1), ((10.5, 50, 11.5, 51), 0.5), ((10.2, 50.2, 10.4, 50.4), 1), ((12, 50, 13, 51), 0),
     ((10, 51, 11, 52), 0), ((370, 50, 371, 51), 1)],
)  # fmt: skip
def test_overlap_is_the_part_of_the_smaller_frame(second: tuple[float, ...], share: float) -> None:
    def frame(west: float, south: float, east: float, north: float) -> np.ndarray:
        return np.array([[west, north], [east, north], [east, south], [west, south]])

    assert overlap(frame(10, 50, 11, 51), frame(*second)) == pytest.approx(share)
    assert overlap(frame(*second), frame(10, 50, 11, 51)) == pytest.approx(share)


def test_overlap_knows_no_antimeridian() -> None:
    first = np.array([[179.5, 1.0], [-179.5, 1.0], [-179.5, 0.0], [179.5, 0.0]])
    assert overlap(first, first - (0.25, 0)) == pytest.approx(0.75)
