"""Matching with a toy bundle that compares an image's mean colour with the colours that a sentence names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rsvl.runtime import Matcher, load
from rsvl.runtime.errors import InputError, UsageError
from rsvl.runtime.manifest import MATCHING
from rsvl.runtime.tasks.prompts import SCENE_TEMPLATES
from tests.support.toy_tasks import SCALE, write_task_bundle


@pytest.fixture(scope="module")
def matcher(tmp_path_factory: pytest.TempPathFactory) -> Matcher:
    return load(write_task_bundle(tmp_path_factory.mktemp("toy") / "matcher", MATCHING), threads=1)


def plain(*colour: int) -> np.ndarray:
    return np.zeros((9, 7, 3), np.uint8) + np.array(colour, np.uint8)


def test_classification_is_a_softmax_over_the_labels(matcher: Matcher) -> None:
    found = matcher.classify(plain(200, 100, 0), ["blue", "red", "green"], "the {} square")
    cosines = np.array([0, 2, 1]) / np.sqrt(5)
    expected = np.exp(SCALE * cosines) / np.exp(SCALE * cosines).sum()
    assert list(found.probabilities) == ["red", "green", "blue"] and found.label == "red"
    assert list(found.probabilities.values()) == pytest.approx(sorted(expected, reverse=True), abs=1e-5)
    assert json.loads(json.dumps(found.to_dict()))["probability"] == found.probability


def test_several_templates_are_asked_with_the_mean_of_their_embeddings(matcher: Matcher) -> None:
    # "red" alone and "red green", which lies half-way to green.
    rows = matcher.embed_labels(["red", "blue"], ["{}", "{} green"])
    single = [matcher.embed_texts([f"{label}{more}" for label in ("red", "blue")]) for more in ("", " green")]
    mean = (single[0] + single[1]) / 2
    np.testing.assert_allclose(rows, mean / np.linalg.norm(mean, axis=1, keepdims=True), atol=1e-6)
    found = matcher.classify(plain(255, 0, 0), ["red", "blue"], ["{}", "{} green"])
    expected = np.exp(SCALE * rows[:, 0]) / np.exp(SCALE * rows[:, 0]).sum()
    assert found.probabilities["red"] == pytest.approx(expected[0], abs=1e-4)


def test_published_templates_name_the_class_once_each() -> None:
    assert len(set(SCENE_TEMPLATES)) == 18 and all(each.count("{}") == 1 for each in SCENE_TEMPLATES)


def test_embeddings_have_length_one_and_their_product_is_the_similarity(matcher: Matcher) -> None:
    images, texts = [plain(10, 20, 30), plain(200, 0, 0)], ["red", "the blue", "green"]
    first, second = matcher.embed_images(images), matcher.embed_texts(texts)
    assert first.shape == (2, 3) and second.shape == (3, 3)
    np.testing.assert_allclose(np.linalg.norm(np.concatenate([first, second]), axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(matcher.similarity(images, texts), SCALE * first @ second.T, rtol=1e-4, atol=1e-4)


def test_retrieval_orders_images_and_takes_embeddings_as_well(matcher: Matcher) -> None:
    images = [plain(0, 0, 255), plain(255, 0, 0), plain(255, 255, 0)]
    found = matcher.retrieve(images, "red")
    assert [match.index for match in found] == [1, 2, 0]
    assert [match.similarity for match in found] == pytest.approx([SCALE, SCALE / np.sqrt(2), 0], abs=1e-4)
    assert matcher.retrieve(matcher.embed_images(images), "red", limit=2) == found[:2]


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [([], UsageError, "labels"), (["red", "red"], UsageError, "once"), (["red", " "], InputError, "empty")],
)
def test_unusable_labels_are_refused(matcher: Matcher, labels: list[str], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        matcher.classify(plain(1, 2, 3), labels)


def test_module_of_another_task_is_run_by_raw_names(tmp_path: Path) -> None:
    runner = load(write_task_bundle(tmp_path / "plain", "doubling"), threads=1)
    x = np.array([[1, 2], [3, 4], [5, 6]], np.float32)
    np.testing.assert_array_equal(runner.run(x=x)["y"], 2 * x)
    for wrong, message in (
        ({"z": x}, "takes x, not z"),
        ({"x": x[:, :1]}, r"float32 \[3, 1\]: toy takes"),
        ({"x": x.astype(np.float64)}, "input x is float64"),
        ({}, "takes x"),
    ):
        with pytest.raises(InputError, match=message):
            runner.run(**wrong)
