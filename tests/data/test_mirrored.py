"""Mirror images to train on: the box lies over the same pixels, and the sentence says the other side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rsvl.data import open_dataset
from rsvl.data.mirrored import mirrored_sentence
from rsvl.data.mixtures import Augmented
from rsvl.tasks.grounding.training import training_set
from tests.support.optsar_rsvg import annotation, write
from tests.support.toy_learners import ToyGrounder


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("the ship on the left", "the ship on the right"),
        ("The rightmost tank, left of the pier", "The leftmost tank, right of the pier"),
        ("Left-hand vehicle in the upper right corner", "Right-hand vehicle in the upper left corner"),
        ("the bright airplane of the leftover cargo", "the bright airplane of the leftover cargo"),
        ("a harbor in the north-east, southwest of the bridge", "a harbor in the north-west, southeast of the bridge"),
        ("the largest building above the road", "the largest building above the road"),
    ],
)
def test_sides_change_places_in_a_sentence_and_nothing_else_does(sentence: str, expected: str) -> None:
    assert mirrored_sentence(sentence) == expected
    assert mirrored_sentence(expected) == sentence


def test_mirrored_box_lies_over_the_same_pixels_and_its_sentence_says_so(tmp_path: Path) -> None:
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[10:20, 8:24] = 255
    images = [{"id": 1, "file_name": "opt_000001.jpg", "width": 80, "height": 40}]
    write(tmp_path, images=images, annotations=[annotation(0, 1, 0, "the vehicle at the left", [8, 10, 16, 10])])
    Image.fromarray(pixels).save(tmp_path / "images/train/opt_000001.jpg", quality=100, subsampling=0)
    varied = Augmented(open_dataset("optsar-rsvg", tmp_path, "train"))
    sides = set()
    for seed in range(8):
        record = varied.varied(0, np.random.default_rng(seed))
        (referring,) = record.referrings
        x, y, width, height = (int(value) for value in varied.box(record, referring))
        assert record.view is not None
        seen = record.view.pixels(pixels)
        inside = seen[y + 1 : y + height - 1, x + 1 : x + width - 1]
        assert inside.min() > seen[:5].max() and (width, height) == (16, 10)
        assert referring.sentences == (f"the vehicle at the {'left' if x == 8 else 'right'}",)
        sides.add(x)
    assert sides == {8, 56}


def test_training_batch_of_mirrored_images_has_their_boxes(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "opt_000001.jpg", "width": 64, "height": 64}]
    write(tmp_path, images=images, annotations=[annotation(0, 1, 0, "the left ship", [0, 0, 16, 64])])
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:, :16] = 255
    Image.fromarray(pixels).save(tmp_path / "images/train/opt_000001.jpg", quality=100)
    sampler = training_set(ToyGrounder(), Augmented(open_dataset("optsar-rsvg", tmp_path, "train")), 1, seed=0)
    lefts = set()
    for epoch in range(8):
        sampler.epoch = epoch
        batch = sampler[0]
        x1, x2 = (int(batch.boxes[0, 0, side] * batch.images.shape[-1]) for side in (0, 2))
        columns = batch.images[0].mean(dim=(0, 1))
        assert columns[x1 + 1 : x2 - 1].min() > columns.mean()
        lefts.add(round(float(batch.boxes[0, 0, 0]), 3))
    assert lefts == {0.0, 0.75}
