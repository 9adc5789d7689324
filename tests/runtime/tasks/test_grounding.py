"""Grounding with a toy bundle whose regions are the quarters of what it sees, each known by its colour."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rsvl.runtime import Grounder, load
from rsvl.runtime.errors import BundleError, InputError, UsageError
from rsvl.runtime.images.georeference import Georeference
from rsvl.runtime.images.scene import open_scene
from rsvl.runtime.images.tiling import Window
from rsvl.runtime.manifest import GROUNDING, MATCHING, ImageSpec
from rsvl.runtime.results import geojson
from rsvl.runtime.results.grounding import Grounding
from rsvl.runtime.tasks.boxes import pairwise_iou, pairwise_overlap, suppress
from rsvl.runtime.tasks.grounding import _in_scene
from tests.support.installed import needs
from tests.support.toy_tasks import QUARTERS, SCALE, SIDE, write_task_bundle

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


@pytest.fixture(scope="module")
def grounder(tmp_path_factory: pytest.TempPathFactory) -> Grounder:
    return load(write_task_bundle(tmp_path_factory.mktemp("toy") / "grounder", GROUNDING), threads=1)


def quarters(*colours: str, size: int = SIDE) -> np.ndarray:
    """An image whose quarters, row by row, have these colours."""
    image = np.zeros((size, size, 3), np.uint8)
    half = size // 2
    for colour, (row, column) in zip(colours, ((0, 0), (0, half), (half, 0), (half, half)), strict=True):
        image[row : row + half, column : column + half] = COLOURS[colour]
    return image


def test_boxes_are_in_pixels_of_the_image_best_first(grounder: Grounder) -> None:
    image = quarters("red", "green", "blue", "red", size=2 * SIDE)
    red, blue = grounder.ground(image, ["red", "blue"])
    assert blue.boxes.tolist() == [[0, 8, 8, 16]] and blue.box == (0, 8, 8, 16)
    assert sorted(red.boxes.tolist()) == [[0, 0, 8, 8], [8, 8, 16, 16]]
    probability = 1 / (1 + np.exp(-SCALE * 0.5))
    assert red.scores == pytest.approx([probability] * 2, abs=1e-6) and red.score == pytest.approx(probability)
    assert red.found and red.size == (16, 16)


def test_result_is_one_for_a_string_and_limit_cuts_it(grounder: Grounder) -> None:
    found = grounder.ground(quarters("red", "red", "red", "blue"), "red", limit=2)
    assert isinstance(found, Grounding) and len(found.boxes) == len(found.scores) == 2
    assert found.left_out == found.to_dict()["left_out"] == 1
    assert found.lines()[0].endswith(", and 1 more (1 left out by the limit)")


def test_all_boxes_over_the_threshold_are_given_without_a_limit(grounder: Grounder) -> None:
    # 4 × 4 tiles that do not overlap, each with two red quarters: 32 boxes that touch, none of which is another's part.
    tiles = np.tile(quarters("red", "blue", "blue", "red", size=16), (4, 4, 1))
    found = grounder.ground(tiles, "red", tile=16, overlap=0)
    assert len(found.boxes) == 32 and found.left_out == 0 and "left out" not in found.lines()[0]
    assert grounder.ground(tiles, "red", tile=16, overlap=0, limit=10).left_out == 22


def test_what_is_not_there_has_no_box(grounder: Grounder) -> None:
    found = grounder.ground(quarters("red", "red", "red", "red"), "blue")
    assert (found.found, found.box, found.score, len(found.boxes)) == (False, None, 0.0, 0)
    assert len(grounder.ground(quarters("red", "red", "red", "red"), "blue", 0.0).boxes) == 4


def test_vocabulary_is_matched_without_the_head(grounder: Grounder, runs: list[str]) -> None:
    image = quarters("green", "red", "blue", "green")
    texts = [*COLOURS, *(f"the {name}" for name in COLOURS)]
    found = grounder.match(image, texts, 0.5)
    assert "head" not in runs and runs.count("image") <= 1
    assert [len(each.boxes) for each in found] == [1, 2, 1] * 2
    assert found[0].boxes.tolist() == (QUARTERS[1:2] * SIDE).tolist()
    assert found[0].scores == pytest.approx([1.0])


def test_tiles_boxes_are_merged(grounder: Grounder) -> None:
    scene = np.zeros((4 * SIDE, 5 * SIDE, 3), np.uint8)
    scene[10:12, 10:12] = COLOURS["red"]
    progress: list[tuple[int, int]] = []
    found = grounder.ground(scene, "red", tile=16, overlap=0.5, progress=lambda *done: progress.append(done))
    assert progress[-1][0] == progress[-1][1] == len(progress) == 12
    # The four tiles that see the square, each in another one of its quarters, mean the same box.
    assert found.boxes.tolist() == [[8, 8, 16, 16]]


SPEC = ImageSpec(32, (0.0,) * 3, (1.0,) * 3)


def test_box_that_a_tile_cuts_yields_to_the_whole_one() -> None:
    scene = open_scene(np.zeros((64, 64, 3), np.uint8))
    # The left tile sees half of what the right one sees whole, and is surer of it.
    left = _in_scene(np.array([[0.5, 0.25, 1.0, 0.75]]), np.array([0.9]), 0.5, Window(0, 0, 32, 32), scene, SPEC)
    right = _in_scene(np.array([[0.1, 0.25, 0.8, 0.75]]), np.array([0.7]), 0.5, Window(0, 16, 32, 32), scene, SPEC)
    assert (left[0, 5], right[0, 5]) == (0, 1)
    boxes, order = np.concatenate([left, right])[:, :4], np.array([0.9, 0.7 + 2])
    assert suppress(boxes, order, 0.5, 0.7).tolist() == [1]


@pytest.mark.parametrize("sensor", ["optical", "sar"])
def test_sensors_that_the_model_takes_are_taken(grounder: Grounder, sensor: str) -> None:
    assert grounder.ground(quarters("red", "red", "red", "red"), "red", sensor=sensor).found


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sensor": "thermal"}, "takes optical or sar images, not thermal"),
        ({"threshold": 2.0}, "threshold"),
        ({"overlap": 0.9}, "overlap"),
        ({"limit": 0}, "limit"),
        ({"tile": "small"}, "tile"),
    ],
)
def test_wrong_options_are_refused(grounder: Grounder, options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        grounder.ground(np.zeros((8, 8, 3), np.uint8), "red", **options)


@pytest.mark.parametrize("texts", ["", ["red", " "]])
def test_empty_sentence_is_refused(grounder: Grounder, texts: str | list[str]) -> None:
    with pytest.raises(InputError, match="sentence is empty"):
        grounder.ground(np.zeros((8, 8, 3), np.uint8), texts)


def test_bundle_of_another_task_is_refused_by_the_typed_class(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="give no scores"):
        Grounder.open(write_task_bundle(tmp_path / "b", MATCHING))


UTM = Georeference("EPSG:32618", (10.0, 0.0, 500_000.0, 0.0, -10.0, 4_000_000.0), 1.0)


def made(georeference: Georeference | None = None) -> Grounding:
    scene = open_scene(np.full((20, 30, 3), 60, np.uint8))
    boxes = np.array([[2.0, 1.0, 12.5, 9.0], [20.0, 10.0, 25.0, 15.0]])
    return Grounding("ship", boxes, np.array([0.9, 0.6]), (20, 30), 0.5, georeference, scene)


@needs("rasterio")
def test_geojson_has_a_feature_per_box() -> None:
    features = geojson.projected([made(UTM)])["features"]
    assert [feature["properties"]["score"] for feature in features] == [0.9, 0.6]
    ring = np.array(features[0]["geometry"]["coordinates"][0])
    assert ring.min(axis=0).tolist() == [500_020, 3_999_910] and ring.max(axis=0).tolist() == [500_125, 3_999_990]
    assert features[0]["properties"]["area"] == pytest.approx(10.5 * 8 * 100 / 0.9996**2)  # UTM's scale in the middle


def test_overlay_shows_the_boxes(tmp_path: Path) -> None:
    made().save(tmp_path / "ships.png")
    drawn = np.asarray(made().plot())
    factor = drawn.shape[1] // 20  # small images are enlarged
    pixels = drawn[factor // 2 :: factor, factor // 2 :: factor]
    assert (drawn[factor, 2 * factor : 12 * factor] != 60).any() and (pixels[4:6, 5:8] == 60).all()
    with pytest.raises(UsageError, match="no masks"):
        made().save(tmp_path / "ships.tif")


def test_to_dict_is_json() -> None:
    data = json.loads(json.dumps(made(UTM).to_dict()))
    assert data["size"] == [30, 20] and data["box"] == [2.0, 1.0, 12.5, 9.0] and data["scores"] == [0.9, 0.6]


BOXES = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 2, 2], [20, 20, 30, 30]], np.float64)


@pytest.mark.parametrize(
    ("iou", "overlap", "kept"), [(0.5, None, [1, 2, 3]), (0.95, None, [1, 0, 2, 3]), (0.5, 0.7, [1, 3])]
)
def test_suppression_keeps_the_best_of_those_that_overlap(iou: float, overlap: float | None, kept: list[int]) -> None:
    assert suppress(BOXES, np.array([0.8, 0.9, 0.7, 0.1]), iou, overlap).tolist() == kept


def test_overlaps_of_boxes() -> None:
    assert pairwise_iou(BOXES[:1], BOXES)[0] == pytest.approx([1, 0.9, 0.04, 0])
    assert pairwise_overlap(BOXES[:1], BOXES)[0] == pytest.approx([1, 1, 1, 0])
