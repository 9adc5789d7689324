"""What a model finds of a class in real images, with intervals by bootstrap."""

from pathlib import Path

import numpy as np
import pytest

from rsvl.benchmarks.laboratory.class_sentences import Overlap, interval, mean_iou, overall_iou, overlaps
from rsvl.data import open_dataset
from rsvl.data.records import ImageRecord
from tests.support.coco_file import HEIGHT, WIDTH, write


def _left_half(record: ImageRecord, sentences: list[str]) -> list[np.ndarray]:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[:, : WIDTH // 2] = True
    return [mask] * len(sentences)


def test_a_class_is_compared_with_all_of_it_in_every_image(tmp_path: Path) -> None:
    dataset = open_dataset("coco-weak-masks", write(tmp_path), "all", masks=True)
    half = HEIGHT * WIDTH // 2
    found = overlaps(_left_half, dataset, "building")
    assert [(each.intersection, each.union) for each in found] == [(60, half + 192), (0, half), (0, half)]
    assert overall_iou(found) == pytest.approx(60 / (3 * half + 192))
    assert mean_iou(found) == pytest.approx(60 / (half + 192) / 3)


def test_every_sentence_with_a_target_is_asked(tmp_path: Path) -> None:
    dataset = open_dataset("coco", write(tmp_path), "site=A", masks=True)
    (found,) = overlaps(_left_half, dataset, None)
    targets = [
        dataset.mask(record, r) for record in dataset for r in record.referrings if not r.no_target for _ in r.sentences
    ]
    (mask,) = _left_half(dataset[0], ["any"])
    assert found.ious == tuple((mask & t).sum() / (mask | t).sum() for t in targets) and len(targets) > 2


def test_interval_is_that_of_the_mean_by_the_normal_law() -> None:
    values = np.random.default_rng(4).normal(0.5, 0.1, 400)
    found = [Overlap(0, 1, (float(value),)) for value in values]
    low, high = interval(mean_iou, found)
    spread = 1.96 * values.std() / np.sqrt(len(values))
    assert (low, high) == pytest.approx((values.mean() - spread, values.mean() + spread), abs=0.15 * spread)
