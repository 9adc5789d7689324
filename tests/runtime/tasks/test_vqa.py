"""Answering with a toy bundle: how much of the colour named there is, and whether the radar sees something bright."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rsvl.runtime import Answerer, load
from rsvl.runtime.errors import InputError, UsageError
from rsvl.runtime.manifest import VQA
from tests.support.installed import needs
from tests.support.rasters import write_raster
from tests.support.toy_tasks import SCALE, write_task_bundle

RED = np.zeros((20, 30, 3), np.uint8) + np.array([255, 0, 0], np.uint8)
DARK, BRIGHT = np.zeros((20, 30), np.uint8), np.full((20, 30), 255, np.uint8)


@pytest.fixture(scope="module")
def answerer(tmp_path_factory: pytest.TempPathFactory) -> Answerer:
    return load(write_task_bundle(tmp_path_factory.mktemp("toy") / "answerer", VQA), threads=1)


def test_answer_is_the_likeliest_with_the_whole_distribution(answerer: Answerer) -> None:
    found = answerer.answer("red", RED, DARK)
    logits = np.array([2.0, SCALE, 0.0])
    expected = np.exp(logits) / np.exp(logits).sum()
    assert found.answer == "yes" and found.probability == pytest.approx(expected[1], abs=1e-6)
    assert list(found.distribution) == ["yes", "no", "bright"]
    assert list(found.distribution.values()) == pytest.approx(sorted(expected, reverse=True), abs=1e-6)
    assert (found.sensors, found.warning) == (("optical", "sar"), "")


@pytest.mark.parametrize(
    ("given", "answer", "sensors", "warning"),
    [
        ({"optical": RED, "sar": BRIGHT}, {"yes", "bright"}, ("optical", "sar"), ""),
        ({"optical": RED}, {"yes"}, ("optical",), "no sar image: answered from optical alone"),
        ({"sar": BRIGHT}, {"bright"}, ("sar",), "no optical image: answered from sar alone"),
        ({"sar": DARK}, {"no"}, ("sar",), "no optical image: answered from sar alone"),
    ],
)
def test_missing_sensor_is_said_and_changes_what_is_used(
    answerer: Answerer, given: dict, answer: set[str], sensors: tuple[str, ...], warning: str
) -> None:
    found = answerer.answer(questions="red", **given)
    assert found.answer in answer and found.sensors == sensors and found.warning == warning


def test_many_questions_encode_the_images_once(answerer: Answerer, runs: list[str]) -> None:
    image = RED.copy()
    image[0, 0] = 7
    found = answerer.answer(["red", "blue", "green"], image, DARK + 1)
    assert [each.answer for each in found] == ["yes", "no", "no"]
    assert runs.count("optical") == runs.count("sar") == 1 and runs.count("head") == 3


def test_words_that_the_model_does_not_know_are_a_warning(answerer: Answerer) -> None:
    assert answerer.answer("the purple square", RED, DARK).warning == "the model does not know the words purple"


@needs("rasterio")
@pytest.mark.parametrize(("east", "shared"), [(0, True), (140, True), (160, False), (100_000, False)])
def test_pair_of_places_that_do_not_overlap_is_refused(
    answerer: Answerer, tmp_path: Path, east: float, shared: bool
) -> None:
    optical = write_raster(tmp_path / "optical.tif", RED, "EPSG:32618")
    moved = (10.0, 0.0, 500_000.0 + east, 0.0, -10.0, 4_000_000.0)
    sar = write_raster(tmp_path / "sar.tif", BRIGHT, "EPSG:32618", moved)  # 300 m wide
    if shared:
        assert answerer.answer("red", optical, sar).sensors == ("optical", "sar")
    else:
        with pytest.raises(InputError, match="a pair must show the same place"):
            answerer.answer("red", optical, sar)


def test_pair_of_different_sizes_is_refused(answerer: Answerer) -> None:
    with pytest.raises(InputError, match="optical 30x20, sar 20x30: resample"):
        answerer.answer("red", RED, np.zeros((30, 20), np.uint8))


def test_no_image_and_no_question_are_refused(answerer: Answerer) -> None:
    with pytest.raises(InputError, match="no image"):
        answerer.answer("red")
    with pytest.raises(UsageError, match="no question"):
        answerer.answer([], RED)
    with pytest.raises(InputError, match="empty"):
        answerer.answer(" ", RED)


def test_images_may_be_files_and_answers_are_json(answerer: Answerer, tmp_path: Path) -> None:
    Image.fromarray(RED).save(tmp_path / "optical.png")
    Image.fromarray(BRIGHT).save(tmp_path / "sar.png")
    found = answerer.answer("blue", tmp_path / "optical.png", str(tmp_path / "sar.png"))
    data = json.loads(json.dumps(found.to_dict(most=2)))
    assert data["answer"] == "bright" and len(data["distribution"]) == 2 and data["sensors"] == ["optical", "sar"]
