"""Grounding where a sentence names several objects, which have no one box."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rsvl.data import open_dataset
from rsvl.tasks.grounding.evaluation import evaluate
from rsvl.tasks.grounding.training import GroundingBatch, training_set
from tests.support.coco_file import ANNOTATIONS, HEIGHT, WIDTH, write
from tests.support.toy_learners import ToyGrounder


def _boxes(batch: GroundingBatch) -> set[tuple[int, ...]]:
    """The boxes of a batch as x, y, width, height in pixels of the image."""
    corners = batch.boxes[batch.has_target].double().numpy() * [WIDTH, HEIGHT, WIDTH, HEIGHT]
    return {(x, y, right - x, bottom - y) for x, y, right, bottom in np.rint(corners).astype(int).tolist()}


def test_sentences_of_one_object_are_trained_on_where_there_are_any(tmp_path: Path) -> None:
    dataset = open_dataset("coco", write(tmp_path), "site=A")
    batch = training_set(ToyGrounder(), dataset, 30, seed=0)[0]
    assert _boxes(batch) == {(4, 4, 10, 6), (40, 26, 16, 12)}


def test_several_alike_are_trained_on_one_by_one(tmp_path: Path) -> None:
    alike = [{**ANNOTATIONS[0], "id": k, "bbox": [24 + k, 14, 12, 12], "segmentation": []} for k in (0, 1)]
    dataset = open_dataset("coco", write(tmp_path, annotations=alike), "site=A")
    assert max(len(r.boxes) for r in dataset[0].referrings if not r.no_target) == 2
    batch = training_set(ToyGrounder(), dataset, 30, seed=0)[0]
    assert _boxes(batch) == {(24, 14, 12, 12), (25, 14, 12, 12)}


def test_sentences_of_several_objects_are_not_asked(tmp_path: Path) -> None:
    dataset, asked = open_dataset("coco", write(tmp_path), "site=A"), []

    def predict(record: object, sentences: list[str]) -> np.ndarray:
        asked.extend(sentences)
        return np.zeros((len(sentences), 4))

    report = evaluate(predict, dataset)
    of_one = [text for r in dataset[0].referrings if len(r.boxes) < 2 for text in r.sentences]
    assert asked == of_one and "the building" not in asked
    assert report.overall.count == sum(len(r.sentences) for r in dataset[0].referrings if len(r.boxes) == 1)
