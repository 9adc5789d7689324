"""Scene classification with a toy bundle whose logits are a multiple of the image's mean colour."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rsvl.runtime import Classifier, Query, load
from rsvl.runtime.errors import BundleError, InputError, UsageError
from rsvl.runtime.manifest import CLASSIFICATION, Manifest
from rsvl.runtime.tasks import compare, coverage, most_informative
from tests.support.toy_bundle import write_manifest
from tests.support.toy_tasks import SCALE, SIDE, write_task_bundle

TILE = 16
"""The smallest there is."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_task_bundle(tmp_path_factory.mktemp("toy") / "classifier", CLASSIFICATION)


@pytest.fixture(scope="module")
def classifier(folder: Path) -> Classifier:
    return load(folder, threads=1)


def changed(folder: Path, **fields: object) -> Path:
    """The bundle with another declaration."""
    manifest = Manifest.from_json((folder / "manifest.json").read_text())
    write_manifest(folder, replace(manifest, model=replace(manifest.model, **fields)))
    return folder


def plain(*colour: int, side: int = SIDE) -> np.ndarray:
    return np.zeros((side, side, 3), np.uint8) + np.array(colour, np.uint8)


def expected(colour: tuple[int, ...], temperature: float = 1.0) -> np.ndarray:
    values = np.exp(SCALE * np.array(colour, float) / 255 / temperature)
    return values / values.sum()


def test_probabilities_are_a_softmax_of_the_logits(classifier: Classifier) -> None:
    found = classifier.classify(plain(51, 102, 0))
    assert list(found.probabilities) == ["green", "red", "blue"] and found.label == "green"
    assert list(found.probabilities.values()) == pytest.approx(sorted(expected((51, 102, 0)), reverse=True), abs=1e-5)
    assert json.loads(json.dumps(found.to_dict()))["probability"] == found.probability
    assert found.lines()[0] == f"{found.probability:.2f}  green" and found.window is None


def test_temperature_divides_the_logits(tmp_path: Path) -> None:
    folder = changed(write_task_bundle(tmp_path / "warm", CLASSIFICATION), temperature=5.0)
    found = load(folder, threads=1).classify(plain(51, 102, 0))
    assert found.probability == pytest.approx(expected((51, 102, 0), 5.0)[1], abs=1e-5)


def test_limit_shows_the_likeliest(classifier: Classifier) -> None:
    (found,) = classifier.ask(Query({"optical": plain(51, 102, 0)}, limit=2))
    assert list(found.to_dict()["probabilities"]) == ["green", "red"] and len(found.lines()) == 2
    assert sum(found.probabilities.values()) == pytest.approx(1)


def test_large_scene_is_a_table_of_tiles(classifier: Classifier) -> None:
    scene = np.zeros((2 * TILE, 5 * TILE, 3), np.uint8)
    scene[:TILE, :TILE, 0] = scene[:TILE, TILE:, 1] = scene[TILE:, :, 2] = 200
    found = classifier.ask(Query({"optical": scene}, tile=TILE))
    assert [each.label for each in found] == ["red"] + ["green"] * 4 + ["blue"] * 5
    assert found[1].to_dict()["box"] == [TILE, 0, 2 * TILE, TILE]
    assert found[0].lines() == [f"x 0–{TILE}, y 0–{TILE}: {found[0].probability:.2f}  red"]
    assert len(classifier.ask(Query({"optical": scene}))) == 10  # five times the side: no longer one scene
    (whole,) = classifier.ask(Query({"optical": scene}, tile="whole"))
    assert whole.label == "blue" and whole.window is None


def test_image_of_up_to_four_sides_is_one_scene(classifier: Classifier) -> None:
    assert len(classifier.ask(Query({"optical": plain(9, 0, 0, side=4 * TILE)}))) == 1


def test_scene_without_data_is_refused(classifier: Classifier) -> None:
    void = np.zeros((40, 40, 4), np.uint8)
    with pytest.raises(InputError, match="holds data"):
        classifier.classify_tiles(void, tile=16)


def test_text_is_refused_with_the_remedy(classifier: Classifier) -> None:
    with pytest.raises(UsageError, match="its own 3 classes and reads no text: leave --text out"):
        classifier.ask(Query({"optical": plain(1, 2, 3)}, ["red"]))


def test_classes_that_nobody_named_are_numbered(tmp_path: Path) -> None:
    runner = load(changed(write_task_bundle(tmp_path / "b", CLASSIFICATION), classes=()), threads=1)
    assert runner.classify(plain(0, 0, 200)).label == "class 2"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"classes": ("red", "green")}, "2 class names for 3 logits"),
        ({"classes": ("red", "red", "blue")}, "same name"),
        ({"temperature": 0.0}, "temperature 0.0 is not above 0"),
    ],
)
def test_declaration_that_does_not_fit_is_refused(tmp_path: Path, fields: dict, message: str) -> None:
    folder = changed(write_task_bundle(tmp_path / "b", CLASSIFICATION), **fields)
    with pytest.raises(BundleError, match=message):
        load(folder)


def test_outputs_agree_by_class_and_probability(classifier: Classifier) -> None:
    spec = classifier.spec
    logits = np.array([[4, 0, 0], [0, 1, 0.999], [0, 0, 3]], np.float32)
    near = logits + np.array([[0.01, 0, 0], [0, 0, 0.002], [0, 0, 0]], np.float32)  # the second's tie swaps
    same, difference = compare(spec, {"logits": logits}, {"logits": near}, "fp32")
    assert (same.value, same.passed, difference.passed) == (1.0, True, True)
    other = compare(spec, {"logits": logits}, {"logits": logits[::-1]}, "fp32")
    assert other[0].value == pytest.approx(1 / 3) and not other[1].passed
    assert most_informative(spec, {"logits": logits}, 2).tolist() == [0, 2]
    assert "same class" in coverage(spec, {"logits": logits[[0, 0, 0, 0]] + np.arange(4)[:, None]}).lack
