"""Areas in longitude and latitude become the pixels that rasterio burns."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rsvl.runtime.errors import InputError
from rsvl.runtime.images.area import AreaScene, read_area, to_pixels
from rsvl.runtime.images.georeference import Georeference
from rsvl.runtime.images.scene import open_scene
from rsvl.runtime.images.tiling import Window
from tests.support.rasters import UTM, write_raster

warp = pytest.importorskip("rasterio.warp")
PLACE = Georeference("EPSG:32618", UTM, 1.0)
DEGREES = Georeference("EPSG:4326", (0.01, 0.0, 10.0, 0.0, -0.01, 50.0))
RING = [[-75.0, 36.141], [-74.9975, 36.1385], [-74.9955, 36.1425], [-74.998, 36.144], [-75.0, 36.141]]
HOLE = [[-74.998, 36.1415], [-74.9975, 36.1415], [-74.9975, 36.142], [-74.998, 36.142], [-74.998, 36.1415]]
POLYGON = {"type": "Polygon", "coordinates": [RING, HOLE]}


@pytest.mark.parametrize(
    "data",
    [
        POLYGON,
        {"type": "Feature", "properties": {}, "geometry": POLYGON},
        {"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": POLYGON}]},
        {"type": "GeometryCollection", "geometries": [{"type": "MultiPolygon", "coordinates": [[RING, HOLE]]}]},
    ],
    ids=lambda data: data["type"],
)
def test_polygon_limits_a_scene_as_rasterio_burns_it(data: dict, tmp_path: Path) -> None:
    from rasterio import Affine, features

    (tmp_path / "area.geojson").write_text(json.dumps(data))
    pixels = np.full((60, 50, 3), 90, np.uint8)
    pixels[:, :10] = 0
    scene = open_scene(write_raster(tmp_path / "scene.tif", pixels, "EPSG:32618", nodata=0))
    limited = AreaScene(scene, to_pixels(read_area(str(tmp_path / "area.geojson")), PLACE, "scene.tif"))
    shape = warp.transform_geom("OGC:CRS84", "EPSG:32618", POLYGON)
    burned = features.rasterize([shape], (60, 50), transform=Affine(*UTM)).astype(bool) & (pixels > 0).all(axis=2)
    assert np.array_equal(limited.valid(), burned) and 0 < burned.sum() < 1500
    window = Window(20, 15, 20, 30)
    assert np.array_equal(limited.valid(window), burned[window.slices])
    assert np.array_equal(limited.read(window), scene.read(window))
    assert not limited.valid(Window(0, 0, 5, 5)).any()


def test_area_that_lies_elsewhere_is_told(tmp_path: Path) -> None:
    scene = open_scene(write_raster(tmp_path / "scene.tif", np.full((60, 50, 3), 90, np.uint8), "EPSG:32618"))
    with pytest.warns(UserWarning, match="no part of the area lies in it"):
        limited = AreaScene(scene, to_pixels(read_area("10,50,11,51"), PLACE, "scene.tif"))
    assert not limited.valid().any()


def test_box_is_west_south_east_north() -> None:
    ((ring,),) = to_pixels(read_area("10.1,49.8,10.3,49.95"), DEGREES, "scene.tif")
    assert np.array(ring).min(axis=0) == pytest.approx((10, 5)) and np.array(ring).max(axis=0) == pytest.approx(
        (30, 20)
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("10,50,9,51", "is empty"),
        ("1,2,3,nan", "is empty"),
        ("nowhere.geojson", "cannot be read as an area"),
        ("1,2,3", "cannot be read as an area"),
        ('{"type": "Point", "coordinates": [1, 2]}', "no polygon in it"),
        ('{"type": "Polygon", "coordinates": [[[500000, 4000000], [1, 2], [3, 4], [500000, 4000000]]]}', "longitude"),
        ('{"type": "Polygon", "coordinates": [[["x", 1]]]}', "not GeoJSON"),
        ("[" * 100_000, "not GeoJSON"),
    ],
)
def test_area_that_is_none_is_refused(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "area.geojson"
    path.write_text(text)
    with pytest.raises(InputError, match=says):
        read_area(str(path) if text.startswith(("{", "[")) else text)


@pytest.mark.parametrize("place", [None, Georeference("", UTM), Georeference("EPSG:4326", None)])
def test_area_in_an_image_without_a_place_is_refused(place: Georeference | None) -> None:
    with pytest.raises(InputError, match="leave --aoi out"):
        to_pixels(read_area("1,2,3,4"), place, "image.png")
