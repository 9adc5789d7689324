"""What `rsvl synth` writes is read back by the RRSIS-D loader as the generator made it."""

from pathlib import Path

import numpy as np
import pytest

from rsvl.data import ReferringDataset, open_dataset
from rsvl.data.synth import Expression, Scene, generate, write
from rsvl.runtime.images.reading import read_image

SEED, SIZE = 7, 128
FIRST_SCENE = {"train": 0, "val": 3, "test": 5}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synth")
    write(folder, scenes=6, seed=SEED, size=SIZE, val=2, test=1)
    return folder


@pytest.fixture(params=FIRST_SCENE)
def split(request: pytest.FixtureRequest, root: Path) -> tuple[ReferringDataset, list[Scene]]:
    """A split as the loader reads it, and the same scenes generated again."""
    dataset = open_dataset("rrsis-d", root, request.param)
    first = FIRST_SCENE[request.param]
    return dataset, [generate((SEED, first + i), SIZE) for i in range(len(dataset))]


def _of_target(scene: Scene, target: int | None) -> list[Expression]:
    return [expression for expression in scene.expressions if expression.target == target]


def test_splits_have_the_scenes_asked_for(root: Path) -> None:
    assert [len(open_dataset("rrsis-d", root, split)) for split in FIRST_SCENE] == [3, 2, 1]


def test_every_object_comes_back_with_its_mask_box_class_and_sentences(
    split: tuple[ReferringDataset, list[Scene]],
) -> None:
    dataset, scenes = split
    for record, scene in zip(dataset, scenes, strict=True):
        named = sorted({e.target for e in scene.expressions if e.target is not None})
        found = [r for r in record.referrings if not r.no_target]
        assert len(found) == len(named) > 0
        for referring, target in zip(found, named, strict=True):
            thing = scene.objects[target]
            np.testing.assert_array_equal(dataset.mask(record, referring), thing.mask)
            assert referring.bbox == thing.bbox
            assert referring.category == thing.category
            assert list(referring.sentences) == [e.text for e in _of_target(scene, target)]


def test_sentences_that_name_nothing_come_back_without_a_target(split: tuple[ReferringDataset, list[Scene]]) -> None:
    dataset, scenes = split
    for record, scene in zip(dataset, scenes, strict=True):
        found = [r for r in record.referrings if r.no_target]
        assert [text for r in found for text in r.sentences] == [e.text for e in _of_target(scene, None)]
        assert not any(dataset.mask(record, r).any() for r in found)


def test_every_sentence_is_read_once(split: tuple[ReferringDataset, list[Scene]]) -> None:
    dataset, scenes = split
    assert dataset.sentence_count == sum(len(scene.expressions) for scene in scenes)


def test_images_are_the_scenes_within_jpegs_loss(split: tuple[ReferringDataset, list[Scene]]) -> None:
    dataset, scenes = split
    for record, scene in zip(dataset, scenes, strict=True):
        image = read_image(record.path).astype(float)
        assert image.shape == (record.height, record.width, 3)
        assert np.abs(image - scene.image).mean() < 8
