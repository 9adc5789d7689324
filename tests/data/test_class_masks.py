"""Objects that questions' datasets outline: read, drawn as masks a class, and as the synthetic scenes have them."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from rsvl.data import QuestionDataset, open_dataset
from rsvl.data.class_masks import class_masks
from rsvl.data.records import OutlinedObject
from rsvl.data.synth import generate, write
from rsvl.runtime.errors import DatasetError


def square(category: str, x: float, y: float, side: float) -> OutlinedObject:
    return OutlinedObject(category, ((x, y), (x + side, y), (x + side, y + side), (x, y + side)))


def test_masks_are_the_share_of_each_cell_that_a_class_covers() -> None:
    objects = [square("ship", 0, 0, 15), square("ship", 8, 8, 15), square("pier", 32, 48, 7), square("tree", 0, 0, 63)]
    found = class_masks(objects, ("pier", "pond", "ship"), width=64, height=64, size=4)
    expected = np.zeros((3, 4, 4), np.float32)
    expected[0, 3, 2] = 1 / 4
    expected[2, :2, :2] = [[1.0, 1 / 4], [1 / 4, 1 / 4]]  # where two ships overlap, once
    np.testing.assert_allclose(found, expected, atol=0.01)


def test_outline_outside_the_image_is_cut() -> None:
    found = class_masks([square("ship", -40, -40, 47)], ("ship",), width=32, height=16, size=2)
    np.testing.assert_allclose(found[0], [[8 * 8 / (16 * 8), 0], [0, 0]])


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> QuestionDataset:
    root = tmp_path_factory.mktemp("scenes")
    write(root / "set", 6, 4, 128, val=0, test=0, task="vqa")
    return open_dataset("osvqa", root / "set", "train", QuestionDataset)


def test_synthetic_outlines_hold_the_objects_of_their_class(scenes: QuestionDataset) -> None:
    for record in scenes:
        scene = generate((4, int(record.sar.stem)), 128)
        drawn = class_masks(record.objects, scenes.categories, 128, 128, 128) > 0
        for name, mask in zip(scenes.categories, drawn, strict=True):
            own = [thing for thing in scene.objects if thing.category == name]
            assert len(own) == sum(thing.category == name for thing in record.objects)
            seen = np.any([thing.mask for thing in own], axis=0) if own else np.zeros((128, 128), bool)
            near = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0  # outlines end between pixels
            assert not (seen & ~near).any(), name
            if all(thing.visible > 0.9 for thing in own):
                assert mask.sum() <= 5 * seen.sum() + 40, name  # an airplane fills a quarter of its box


def test_synthetic_questions_name_the_objects_that_they_are_about(scenes: QuestionDataset) -> None:
    checked = 0
    for record in scenes:
        for question in record.questions:
            about = [record.objects[index].category for index in question.objects]
            if question.type == "count":
                assert question.answer in (str(len(about)), "more than 5")
            elif question.type in ("color", "orientation", "absolute position", "sensor"):
                assert len(about) == 1 and about[0].split()[-1] in question.text, question
            elif question.type in ("size", "relative position"):
                assert len(about) == 2 and all(kind.split()[-1] in question.text for kind in about), question
            elif question.type in ("density", "cover", "optical quality"):
                assert about == []
            checked += bool(about)
    assert checked > 20


def test_a_question_about_an_object_that_is_not_there_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "set", 1, 4, 64, val=0, test=0, task="vqa")
    table = tmp_path / "set" / "OSVQA_split_train_questions.json"
    table.write_text(table.read_text().replace('"objects": [0', '"objects": [99'))
    with pytest.raises(DatasetError, match="object 99"):
        open_dataset("osvqa", tmp_path / "set", "train", QuestionDataset)


def test_a_set_without_outlines_has_none(tmp_path: Path, scenes: QuestionDataset) -> None:
    assert scenes.categories == tuple(sorted({thing.category for record in scenes for thing in record.objects}))
    bare = QuestionDataset("x", "train", [(None, None, scenes[0].questions, "", None)])
    assert bare.categories == ()
