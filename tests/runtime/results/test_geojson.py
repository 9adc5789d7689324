"""Results on the map: GeoJSON in WGS 84 by RFC 7946, in the image's own system, and in pixels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rsvl.runtime.errors import InputError, UsageError
from rsvl.runtime.images.geodesy import signed_area
from rsvl.runtime.images.georeference import Georeference
from rsvl.runtime.results import geojson
from rsvl.runtime.results.antimeridian import Rings, cut
from rsvl.runtime.results.image_files import save_all
from rsvl.runtime.results.segmentation import Segmentation
from tests.support.installed import needs

UTM = Georeference("EPSG:32618", (10.0, 0.0, 500_000.0, 0.0, -10.0, 4_000_000.0), 1.0)
SOUTH_UP = Georeference("EPSG:32618", (10.0, 0.0, 500_000.0, 0.0, 10.0, 4_000_000.0), 1.0)
TURNED = Georeference("EPSG:32618", (8.0, 3.0, 500_000.0, 3.0, -8.0, 4_000_000.0), 1.0)
DEGREES = Georeference("EPSG:4326", (0.1, 0.0, 10.0, 0.0, -0.1, 50.0))
FINE_DEGREES = Georeference("EPSG:4326", (0.001, 0.0, 10.0, 0.0, -0.001, 50.0))
MERCATOR = Georeference("EPSG:3857", (10.0, 0.0, 1e6, 0.0, -10.0, 8_399_738.0), 1.0)  # 60 degrees north
DATE_LINE = Georeference("EPSG:32660", (1000.0, 0.0, 700_000.0, 0.0, -1000.0, 5_000_000.0), 1.0)
LOCAL = Georeference('LOCAL_CS["x"]', UTM.transform, 1.0)


def ring(georeference: Georeference | None = None, text: str = "the ring") -> Segmentation:
    """A ring of 5×5 with a hole of one pixel at (x 4, y 3), and a single pixel at (x 9, y 8)."""
    mask = np.zeros((12, 15), bool)
    mask[1:6, 2:7] = True
    mask[3, 4] = False
    mask[8, 9] = True
    return Segmentation(text, mask, 0.75, 0.5, georeference=georeference)


EMPTY = Segmentation("nothing", np.zeros((12, 15), bool), 0.0, 0.5, georeference=DEGREES)


def planar_area(corners: list) -> float:
    x, y = np.array(corners).T
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2)


@needs("rasterio")
@pytest.mark.parametrize("place", [UTM, SOUTH_UP, TURNED, DEGREES], ids=["north up", "south up", "turned", "degrees"])
def test_geojson_in_wgs84_rasterizes_back_to_the_mask(tmp_path: Path, place: Georeference) -> None:
    from rasterio import Affine, features, warp

    found = ring(place)
    found.save(tmp_path / "ring.geojson")
    data = json.loads((tmp_path / "ring.geojson").read_text())
    assert [feature["id"] for feature in data["features"]] == [1, 2]
    assert set(data) == {"type", "features"}  # no crs member (RFC 7946, 4)
    back = [warp.transform_geom("OGC:CRS84", place.crs, feature["geometry"]) for feature in data["features"]]
    burned = features.rasterize(back, found.mask.shape, transform=Affine(*place.transform))
    assert np.array_equal(burned.astype(bool), found.mask)
    for feature in data["features"]:
        exterior, *holes = feature["geometry"]["coordinates"]
        assert exterior[0] == exterior[-1]
        assert planar_area(exterior) > 0 and all(planar_area(hole) < 0 for hole in holes)  # RFC 7946, 3.1.6
    corners = np.array(data["features"][0]["properties"]["oriented_box"])
    world = zip(*warp.transform("OGC:CRS84", place.crs, *corners.T.tolist()), strict=True)
    in_pixels = np.array([~Affine(*place.transform) * point for point in world])
    assert sorted(in_pixels.round(2).tolist()) == [[2, 1], [2, 6], [7, 1], [7, 6]]


@needs("rasterio")
@pytest.mark.parametrize("place", [UTM, MERCATOR, FINE_DEGREES], ids=["UTM", "Web Mercator", "degrees"])
def test_area_is_that_of_an_equal_area_projection(place: Georeference) -> None:
    from rasterio import warp

    found = ring(place)
    ring_feature, pixel = geojson.collection([found])["features"]
    longitude, latitude = place.to_wgs84(np.array([7.0, 6.0]))
    plane = f"+proj=laea +lat_0={latitude} +lon_0={longitude} +ellps=WGS84"
    geometries = [warp.transform_geom("OGC:CRS84", plane, each["geometry"]) for each in (ring_feature, pixel)]
    expected = sum(planar_area(corners) for geometry in geometries for corners in geometry["coordinates"])
    areas = [each["properties"].pop("area") for each in (ring_feature, pixel)]
    assert sum(areas) == pytest.approx(expected, rel=1e-6) and areas[0] == pytest.approx(24 * areas[1], rel=1e-3)
    assert len(ring_feature["properties"].pop("oriented_box")) == 4
    probability = pytest.approx(0.75, abs=1e-5)
    properties = {"text": "the ring", "score": probability, "peak": probability, "area_unit": "m2"}
    assert ring_feature["properties"] == properties


@needs("rasterio")
def test_area_in_web_mercator_at_60_degrees_is_a_quarter() -> None:
    areas = [feature["properties"]["area"] for feature in geojson.collection([ring(MERCATOR)])["features"]]
    assert areas == pytest.approx([2400 / 4, 100 / 4], rel=0.005)


def test_not_found_is_no_feature() -> None:
    assert geojson.collection([EMPTY]) == {"type": "FeatureCollection", "features": []}
    features = geojson.collection([ring(DEGREES, "a"), EMPTY])["features"]
    assert [feature["properties"]["text"] for feature in features] == ["a", "a"]
    assert geojson.in_pixels([EMPTY])["objects"] == [] and geojson.projected([EMPTY])["features"] == []


@needs("rasterio")
@pytest.mark.parametrize(
    ("place", "name"), [(UTM, "urn:ogc:def:crs:EPSG::32618"), (LOCAL, 'LOCAL_CS["x"]'), (DEGREES, None)]
)
def test_projected_form_has_the_image_s_coordinates_and_names_them(place: Georeference, name: str | None) -> None:
    data = geojson.projected([ring(place)])
    assert data.get("crs", {}).get("properties", {}).get("name") == name
    feature, _ = data["features"]
    first = feature["geometry"]["coordinates"][0]
    assert place.to_world(np.array([2, 1])).tolist() in first and planar_area(first) > 0
    assert feature["properties"]["area_unit"] == "m2"


def test_pixels_are_in_a_json_that_is_no_geojson(tmp_path: Path) -> None:
    ring().save(tmp_path / "ring.json")
    data = json.loads((tmp_path / "ring.json").read_text())
    assert "type" not in data and (data["width"], data["height"]) == (15, 12)
    found, pixel = data["objects"]
    assert (found["id"], found["text"], found["area"], found["area_unit"]) == (1, "the ring", 24, "pixels")
    assert pixel["polygons"] == [[[[9, 8], [10, 8], [10, 9], [9, 9], [9, 8]]]]
    rasterio = pytest.importorskip("rasterio")
    with pytest.raises(rasterio.errors.RasterioIOError):
        rasterio.open(tmp_path / "ring.json")


@pytest.mark.parametrize("place", [None, Georeference("", UTM.transform)], ids=["none", "no system"])
def test_geojson_without_a_place_is_refused(tmp_path: Path, place: Georeference | None) -> None:
    for name in ("ring.geojson", "ring.projected.geojson"):
        with pytest.raises(UsageError, match="save outlines in pixels"):
            ring(place).save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@needs("rasterio")
@pytest.mark.parametrize(
    ("place", "options", "written"),
    [
        (UTM, {}, ["-masks.tif", "-outlines.geojson"]),
        (UTM, {"projected": True}, ["-masks.tif", "-outlines.geojson", "-outlines.projected.geojson"]),
        (LOCAL, {}, ["-masks.tif", "-outlines.projected.geojson"]),
        (Georeference("", UTM.transform), {}, ["-masks.tif"]),
        (Georeference("", UTM.transform), {"geojson": True}, ["-masks.tif", "-outlines.json"]),
        (None, {}, []),
        (None, {"geojson": True, "geotiff": True}, ["-masks.tif", "-outlines.json"]),
    ],
)
def test_files_follow_what_is_known_of_the_place(
    tmp_path: Path, place: Georeference | None, options: dict[str, bool], written: list[str]
) -> None:
    files = save_all([ring(place)], tmp_path, "a", **options)  # type: ignore[arg-type]
    assert sorted(file.name for file in files) == [f"a{name}" for name in sorted([*written, "-overlay.png"])]


def test_projected_form_of_an_image_without_a_system_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="leave --projected out"):
        save_all([ring()], tmp_path, "a", projected=True)


@needs("rasterio")
def test_mask_across_the_antimeridian_is_cut_there() -> None:
    mask = np.zeros((60, 200), bool)
    mask[10:50, 20:180] = True  # zone 60's eastern edge runs through it
    mask[20:30, 60:100] = False
    found = Segmentation("a", mask, 0.9, 0.5, georeference=DATE_LINE)
    (feature,) = geojson.collection([found])["features"]
    assert feature["geometry"]["type"] == "MultiPolygon"
    sides = [np.array(exterior)[:, 0] for exterior, *_ in feature["geometry"]["coordinates"]]
    assert all(np.abs(side).max() == 180 and (side > 0).all() != (side < 0).all() for side in sides)
    assert feature["properties"]["area"] == pytest.approx((mask.sum()) * 1e6, rel=0.02)
    assert feature["properties"]["area"] == pytest.approx(
        sum(signed_area(np.array(r)[:-1]) for rings in feature["geometry"]["coordinates"] for r in rings), rel=1e-3
    )


def square(west: float, south: float, east: float, north: float) -> np.ndarray:
    return np.array([[west, south], [east, south], [east, north], [west, north]], np.float64)


CUTS: dict[str, tuple[Rings, int, int]] = {
    "far from it": ([square(10, 0, 12, 1)], 1, 0),
    "across": ([square(179, 0, -179, 1)], 2, 0),
    "counted on": ([square(179, 0, 181, 1)], 2, 0),
    "counted on westwards": ([square(-181, 0, -179, 1)], 2, 0),
    "at it": ([square(179, 0, 180, 1)], 1, 0),
    "hole across": ([square(178, 0, -178, 3), square(179, 1, -179, 2)[::-1]], 2, 0),
    "hole in the west": ([square(178, 0, -178, 3), square(178.5, 1, 179.5, 2)[::-1]], 2, 1),
    "holes on both sides": (
        [square(178, 0, -178, 3), square(178.5, 1, 179.5, 2)[::-1], square(-179.5, 1, -178.5, 2)[::-1]], 2, 2,
    ),
    "comb": (
        [np.array([[178, 0], [-178, 0], [-178, 3], [179, 3], [179, 2], [-179, 2], [-179, 1], [178, 1]], float)], 3, 0,
    ),
    "round a pole": ([np.stack([(np.arange(0.0, 360, 5) + 180) % 360 - 180, np.full(72, 80.0)], axis=1)], 2, 0),
}  # fmt: skip


@pytest.mark.parametrize(("rings", "polygons", "holes"), CUTS.values(), ids=CUTS.keys())
def test_cut_keeps_the_area_and_stays_within_180_degrees(rings: Rings, polygons: int, holes: int) -> None:
    parts = cut(rings)
    assert (len(parts), sum(len(part) - 1 for part in parts)) == (polygons, holes)
    assert all(np.abs(r[:, 0]).max() <= 180 for part in parts for r in part)
    assert all(signed_area(part[0]) > 0 and all(signed_area(hole) < 0 for hole in part[1:]) for part in parts)
    assert sum(signed_area(r) for part in parts for r in part) == pytest.approx(sum(map(signed_area, rings)), rel=1e-9)
