"""Grounding where a sentence names several objects, which have no one box."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rsvl.data import open_dataset
from rsvl.runtime.tasks.tokenizer import Tokenizer
from rsvl.tasks.grounding.evaluation import evaluate
from rsvl.tasks.grounding.training import MOST_BOXES, GroundingBatch, training_set
from tests.support.coco_file import ANNOTATIONS, HEIGHT, WIDTH, write
from tests.support.toy_learners import ToyGrounder


def _boxes(batch: GroundingBatch) -> list[set[tuple[int, ...]]]:
    """The boxes of each sentence as x, y, width, height in pixels of the image."""
    corners = np.rint(batch.boxes.double().numpy() * [WIDTH, HEIGHT, WIDTH, HEIGHT]).astype(int)
    own = [corners[row][batch.has_target[row].numpy()].tolist() for row in range(len(corners))]
    return [{(x, y, right - x, bottom - y) for x, y, right, bottom in boxes} for boxes in own]


def test_a_sentence_of_several_objects_has_all_their_boxes(tmp_path: Path) -> None:
    dataset = open_dataset("coco", write(tmp_path), "site=A")
    batch = training_set(ToyGrounder(), dataset, 30, seed=0)[0]
    toy = ToyGrounder()
    tokenizer = Tokenizer.from_file(toy.tokenizer_json(), toy.spec.words)
    expected = {
        tuple(tokenizer([text])[0]): {tuple(map(round, box)) for box in each.boxes}
        for each in dataset[0].referrings
        for text in each.sentences
    }
    assert max(map(len, expected.values())) > 1
    for tokens, boxes in zip(batch.tokens, _boxes(batch), strict=True):
        assert boxes == expected[tuple(tokens.numpy())]


def test_half_of_the_sentences_are_of_several_objects_where_there_are_both(tmp_path: Path) -> None:
    dataset = open_dataset("coco", write(tmp_path), "site=A")
    batch = training_set(ToyGrounder(), dataset, 30, seed=0)[0]
    assert sum(len(boxes) > 1 for boxes in _boxes(batch)) == 15


def test_of_too_many_objects_as_many_are_trained_on_as_there_can_be(tmp_path: Path) -> None:
    alike = [{**ANNOTATIONS[0], "id": k, "bbox": [10 + k / 10, 14, 12, 12], "segmentation": []} for k in range(80)]
    dataset = open_dataset("coco", write(tmp_path, annotations=alike), "site=A")
    assert all(len(each.boxes) == 80 for each in dataset[0].referrings if len(each.boxes) > 1)
    batch = training_set(ToyGrounder(), dataset, 30, seed=0)[0]
    assert set(batch.has_target.sum(1).tolist()) <= {0, 1, MOST_BOXES}


def test_sentences_of_several_objects_are_not_asked(tmp_path: Path) -> None:
    dataset, asked = open_dataset("coco", write(tmp_path), "site=A"), []

    def predict(record: object, sentences: list[str]) -> np.ndarray:
        asked.extend(sentences)
        return np.zeros((len(sentences), 4))

    report = evaluate(predict, dataset)
    of_one = [text for r in dataset[0].referrings if len(r.boxes) < 2 for text in r.sentences]
    assert asked == of_one and "the building" not in asked
    assert report.overall.count == sum(len(r.sentences) for r in dataset[0].referrings if len(r.boxes) == 1)
