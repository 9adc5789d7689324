"""Scenes from the command line: sentences from a file, areas, processes, which objects are given, and being ended."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.installed import needs
from tests.support.outcome import Rsvl
from tests.support.rasters import UTM, write_raster

pytestmark = needs("rasterio")
SMALL = ("--tile", "32")  # the toy bundle's own size
ABOVE = 2300
"""A side that is more than one block."""


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """A scene of 120 × 150 pixels of 10 m with two red rectangles and one blue one."""
    pixels = np.full((120, 150, 3), 128, np.uint8)
    pixels[10:30, 10:50], pixels[60:64, 100:104], pixels[80:100, 20:40] = (255, 0, 0), (255, 0, 0), (0, 0, 255)
    return write_raster(tmp_path / "scene.tif", pixels, "EPSG:32618")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene of more than one block, with a red cross that lies in all of them."""
    pixels = np.full((ABOVE, ABOVE, 3), 128, np.uint8)
    pixels[1900:2100], pixels[:, 1900:2100] = (255, 0, 0), (255, 0, 0)
    return write_raster(tmp_path_factory.mktemp("large") / "large.tif", pixels, "EPSG:32618", compress="deflate")


def test_sentences_come_from_a_file_with_names(rsvl: Rsvl, bundle: Path, scene: Path, tmp_path: Path) -> None:
    import rasterio

    (tmp_path / "texts.txt").write_text("# colours\nreds\tthe red square\n\nblue\n", encoding="utf-8-sig")
    found = rsvl(
        "run", bundle, scene, "--texts", tmp_path / "texts.txt", "-t", "green", *SMALL, "-o", tmp_path / "o", "--json"
    )
    assert [one["text"] for one in found.json["images"][0]["found"]] == ["green", "the red square", "blue"]
    features = json.loads((tmp_path / "o" / "scene-outlines.geojson").read_text())["features"]
    assert [(each["id"], each["properties"].get("name")) for each in features] == [(1, "reds"), (2, "reds"), (3, None)]
    with rasterio.open(tmp_path / "o" / "scene-masks.tif") as masks:
        assert masks.descriptions == ("green", "reds", "blue")


@pytest.mark.parametrize(
    ("options", "areas"),
    [
        ((), [80000, 1600]),
        (("--min-area", "5000"), [80000]),
        (("--min-area", "17px"), [80000]),
        (("--min-area", "15px"), [80000, 1600]),
        (("--min-score", "0.99"), [80000, 1600]),
        (("--limit", "1"), [80000]),
        (("--aoi", "{east}"), [1600]),
    ],
)
def test_objects_that_are_asked_for_are_given(
    rsvl: Rsvl, bundle: Path, scene: Path, tmp_path: Path, options: tuple[str, ...], areas: list[float]
) -> None:
    from rasterio.warp import transform_bounds

    x, y = UTM[2], UTM[5]
    east = ",".join(map(str, transform_bounds("EPSG:32618", "EPSG:4326", x + 800, y - 1200, x + 1500, y)))
    options = tuple(option.format(east=east) for option in options)
    outcome = rsvl("run", bundle, scene, "-t", "red", *SMALL, "-o", tmp_path / "o", "--json", *options)
    (found,) = outcome.json["images"][0]["found"]
    features = json.loads((tmp_path / "o" / "scene-outlines.geojson").read_text())["features"]
    given = [each["properties"]["area"] for each in features]
    assert given == pytest.approx([area / 0.9996**2 for area in areas], rel=1e-4) and len(found["objects"]) == len(
        areas
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--texts", "nowhere.txt"), "nowhere.txt: cannot be read"),
        (("--texts", "EMPTY"), "0 sentences"),
        (("--min-area", "-3"), "--min-area takes square metres"),
        (("--min-area", "3 ha"), "--min-area takes square metres"),
        (("--aoi", "1,2,3"), "cannot be read as an area"),
        (("--overlap", "0.7"), "--overlap"),
        (("--probability", "--mask"), "--probability needs rasterio"),
        (("--simplify", "-1"), "--simplify takes metres"),
        (("--batch", "0"), "--batch"),
        (("--scales", "1,x"), "--scales takes numbers above 0"),
        (("--scales", "1", "--gsd", "2"), "choose one"),
        (("--gsd", "5", "--tile", "64"), "leave --tile out"),
        (("--scales", "100"), "from 1/64 to 64"),
    ],
)
def test_wrong_options_of_scenes_are_refused(
    rsvl: Rsvl, bundle: Path, scene: Path, tmp_path: Path, options: tuple[str, ...], says: str
) -> None:
    (tmp_path / "EMPTY").touch()
    arguments = [tmp_path / option if option == "EMPTY" else option for option in options]
    outcome = rsvl("run", bundle, scene, "-t", "red", "-o", tmp_path / "o", *arguments)
    assert outcome.code == 2 and says in outcome.error and not (tmp_path / "o").exists()


def test_simplified_outlines_have_fewer_corners_in_metres_and_pixels(
    rsvl: Rsvl, bundle: Path, scene: Path, tmp_path: Path
) -> None:
    pytest.importorskip("shapely")
    corners = {}
    for option in ((), ("--simplify", "3px"), ("--simplify", "30"), ("--simplify", "3")):
        rsvl("run", bundle, scene, "-t", "red", "--tile", 24, "--threshold", 0.99, "-o", tmp_path / "o", *option)
        features = json.loads((tmp_path / "o" / "scene-outlines.geojson").read_text())["features"]
        corners[option] = [len(each["geometry"]["coordinates"][0]) for each in features]
    exact, in_pixels, in_metres, fine = corners.values()
    assert sum(in_pixels) < sum(exact) and in_pixels == in_metres and fine == exact


def test_refused_table_leaves_nothing_behind(rsvl: Rsvl, bundle: Path, image: Path, tmp_path: Path) -> None:
    outcome = rsvl("run", bundle, image, "-t", "red", "--gpkg", "-o", tmp_path / "o" / "p")
    assert outcome.code == 2 and "leave --gpkg" in outcome.error and not (tmp_path / "o").exists()


def test_area_in_pixels_is_asked_for_where_no_place_is_known(
    rsvl: Rsvl, bundle: Path, image: Path, tmp_path: Path
) -> None:
    outcome = rsvl("run", bundle, image, "-t", "red", "--min-area", "20", "-o", tmp_path / "o")
    assert outcome.code == 2 and "20px" in outcome.error


def test_scene_of_several_blocks_gives_one_object_over_their_borders(
    rsvl: Rsvl, bundle: Path, large: Path, tmp_path: Path
) -> None:
    import rasterio

    arguments = ("run", bundle, large, "-t", "the red square", "--tile", 500, "-o", tmp_path / "o", "--probability")
    (found,) = rsvl(*arguments, "--json").json["images"][0]["found"]
    assert found["box"] == [0, 0, ABOVE, ABOVE] and len(found["objects"]) == 1
    files = {path.name for path in (tmp_path / "o").iterdir()}
    assert files == {f"large-{name}" for name in ("masks.tif", "probability.tif", "outlines.geojson", "overlay.png")}
    with rasterio.open(tmp_path / "o" / "large-masks.tif") as masks, rasterio.open(large) as shown:
        red = shown.read(1) == 255
        assert ((masks.read(1) == 1) & red).sum() / red.sum() > 0.9
    with rasterio.open(tmp_path / "o" / "large-probability.tif") as probability:
        values = probability.read(1, window=((1900, 2100), (0, 200)))
        assert values.dtype == np.float32 and 0 <= values.min() < 0.1 and 0.9 < values.max() <= 1


ENDED = """
import os, signal, sys
from rsvl.cli import main
from rsvl.runtime.scenes import work
done = work.BlockWorker.do
def do(self, pixels):
    if pixels.block == 2:
        os.kill(os.getpid(), signal.SIGTERM)
    return done(self, pixels)
work.BlockWorker.do = do
sys.exit(main(sys.argv[1:]))
"""


def test_sigterm_keeps_the_parts(bundle: Path, large: Path, tmp_path: Path) -> None:
    out = tmp_path / "o"
    command = [sys.executable, "-c", ENDED, "run", bundle, large, "-t", "red", "--tile", "500", "-o", out]
    ended = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert ended.returncode == 143 and ended.stderr.splitlines()[-1] == "error: terminated"
    parts = out / "large.parts"
    assert {path.name for path in parts.iterdir()} == {"plan.json", "part-000000.npz", "part-000001.npz"}
    assert [path.name for path in out.iterdir()] == ["large.parts"]
    plan = json.loads((parts / "plan.json").read_text())
    assert plan["sentences"] == ["red"] and len(plan["scene_sha256"]) == 64 and plan["scene"] == str(large)
