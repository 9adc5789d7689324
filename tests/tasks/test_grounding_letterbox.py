"""Grounding by a model with a letterbox: its training's boxes lie in the square, its answers in the image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rsvl.data import open_dataset
from rsvl.data.records import ReferringDataset
from rsvl.runtime.images.scene import open_scene
from rsvl.runtime.images.tiling import Window
from rsvl.runtime.manifest import ImageSpec
from rsvl.runtime.tasks.grounding import _in_scene
from rsvl.tasks.grounding.training import torch_predictor, training_set
from tests.support.optsar_rsvg import annotation, write
from tests.support.toy_learners import ToyGrounder

# 80 × 40 pixels in a square of 32: r = 0.4, so 32 × 16 between two borders of 8 rows.
SPEC = ImageSpec(32, (0.0,) * 3, (1.0,) * 3, resize="linear", letterbox=114)


@pytest.fixture
def dataset(tmp_path: Path) -> ReferringDataset:
    """One image with a box (20, 10) to (60, 30), its middle half."""
    images = [{"id": 1, "file_name": "opt_000001.jpg", "width": 80, "height": 40}]
    write(tmp_path, images=images, annotations=[annotation(0, 1, 0, "the ship", [20, 10, 40, 20])])
    Image.fromarray(np.full((40, 80, 3), 200, np.uint8)).save(tmp_path / "images/train/opt_000001.jpg")
    return open_dataset("optsar-rsvg", tmp_path, "train")


@pytest.fixture
def model() -> ToyGrounder:
    """It always gives the middle half of the square."""
    toy = ToyGrounder()
    toy.spec = replace(toy.spec, images=(SPEC,))
    return toy


def test_training_gives_the_box_in_the_square(dataset: ReferringDataset, model: ToyGrounder) -> None:
    batch = training_set(model, dataset, 1, seed=0)[0]
    # In pixels of the square: (20, 10) · 0.4 + (0, 8) = (8, 12), and (60, 30) · 0.4 + (0, 8) = (24, 20).
    np.testing.assert_allclose(batch.boxes[0, 0], np.array([8, 12, 24, 20]) / 32, atol=1e-6)
    assert torch.allclose(batch.images[0, :, [0, 7, 24, 31]], torch.tensor(114 / 255), atol=1e-6)
    assert torch.allclose(batch.images[0, :, 8:24], torch.tensor(200 / 255), atol=0.01)


def test_answer_is_in_pixels_of_the_image(dataset: ReferringDataset, model: ToyGrounder) -> None:
    # The square's (8, 8) to (24, 24) less 8 rows, over 0.4: all rows of the image.
    found = torch_predictor(model)(dataset[0], ["the ship"])
    np.testing.assert_allclose(found, [[20, 0, 60, 40]], atol=1e-4)


def test_tile_of_a_scene_is_a_letterbox_too() -> None:
    scene = open_scene(np.zeros((40, 200, 3), np.uint8))
    box = np.array([[8, 12, 24, 20], [0, 0, 16, 16]]) / 32
    rows = _in_scene(box, np.array([0.9, 0.8]), 0.5, Window(0, 80, 40, 80), scene, SPEC)
    # The second touches the tile's left edge, which lies within the scene.
    np.testing.assert_allclose(rows, [[100, 10, 140, 30, 0.9, 1], [80, 0, 120, 20, 0.8, 0]], atol=1e-9)
