"""Your own COCO file: splits, masks, weak masks, views, and what is wrong with damaged ones."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from rsvl.data import ReferringDataset, open_dataset
from rsvl.data.views import View
from rsvl.runtime.errors import DatasetError
from tests.support.coco_file import ANNOTATIONS, HEIGHT, IMAGES, WIDTH, write
from tests.support.public_layouts import compressed


def _class(dataset: ReferringDataset, index: int, sentence: str) -> np.ndarray:
    record = dataset[index]
    (found,) = (r for r in record.referrings if sentence in r.sentences)
    return dataset.mask(record, found)


def test_a_classs_name_means_all_of_it(tmp_path: Path) -> None:
    dataset = open_dataset("coco", write(tmp_path), "site=A", masks=True)
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[4:10, 4:14] = expected[26:38, 40:56] = True
    np.testing.assert_array_equal(_class(dataset, 0, "the building"), expected)
    (record,) = dataset
    assert dataset.categories == ("building", "storage tank") and record.path == tmp_path / "images" / "one.png"
    everything = next(r for r in record.referrings if "the building" in r.sentences)
    assert everything.boxes == ((4, 4, 10, 6), (40, 26, 16, 12)) and everything.bbox == (4, 4, 52, 34)


def test_sentences_of_a_record_stay_the_same(tmp_path: Path) -> None:
    dataset = open_dataset("coco", write(tmp_path), "all")
    again = open_dataset("coco", tmp_path, "all")
    assert [record.referrings for record in dataset] == [record.referrings for record in again]


@pytest.mark.parametrize(
    ("split", "names"),
    [
        ("all", ["one.png", "two.png", "three.png"]),
        ("site=B", ["two.png", "three.png"]),
        ("site!=B", ["one.png"]),
        ("site=A,B", ["one.png", "two.png", "three.png"]),
        ("tile=19/309614/261632", ["one.png", "two.png"]),
        ("tile=20/619229/523265", ["two.png"]),
        ("tile!=20/619229/523265", ["one.png"]),
        ("night", ["three.png"]),
    ],
)
def test_split_is_chosen_by_a_field(split: str, names: list[str], tmp_path: Path) -> None:
    assert [record.path.name for record in open_dataset("coco", write(tmp_path), split)] == names


@pytest.mark.parametrize(
    ("file", "folder"),
    [
        ("train.json", "images"),
        ("train.json", "."),
        ("annotations/instances_train.json", "train"),
        ("annotations/instances_train.json", "images/train"),
        ("train/_annotations.coco.json", "train"),
    ],
)
def test_split_with_a_file_of_its_own(file: str, folder: str, tmp_path: Path) -> None:
    dataset = open_dataset("coco", write(tmp_path, file, folder), "train")
    assert len(dataset) == 3 and all(record.path.is_file() for record in dataset)


def test_box_alone_has_no_mask_but_a_weak_one(tmp_path: Path) -> None:
    plain = open_dataset("coco", write(tmp_path), "site=B")
    assert not plain.has_masks
    with pytest.raises(DatasetError, match="take coco-weak-masks"):
        _class(plain, 0, "the storage tank")
    weak = open_dataset("coco-weak-masks", tmp_path, "site=B", masks=True)
    drawn = np.zeros((HEIGHT * 16, WIDTH * 16), np.uint8)
    for x, y, w, h in ((20, 10, 12, 12), (52, 32, 8, 8)):
        middle, half = (int(16 * (x + w / 2)), int(16 * (y + h / 2))), (8 * w, 8 * h)
        cv2.ellipse(drawn, middle, half, 0, 0, 360, 1, -1)
    inside = drawn.reshape(HEIGHT, 16, WIDTH, 16).mean((1, 3))
    found = _class(weak, 0, "the storage tank")
    assert weak.has_masks and found[inside > 0.95].all() and not found[inside < 0.05].any()


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("mirrored", [False, True])
def test_view_shows_the_mask_where_it_shows_the_pixels(turns: int, mirrored: bool, tmp_path: Path) -> None:
    run_length = np.zeros((HEIGHT, WIDTH), bool)
    run_length[20:31, 8:19] = True
    more = {"id": 9, "image_id": 1, "category_id": 1, "bbox": [8, 20, 11, 11], "segmentation": compressed(run_length)}
    dataset = open_dataset("coco", write(tmp_path, annotations=[*ANNOTATIONS, more]), "site=A", masks=True)
    view = View((8, 2, 44, 34), mirrored, turns)
    record = dataset.viewed(0, view, np.random.default_rng(0))
    (found,) = (r for r in record.referrings if "the building" in r.sentences)
    expected = view.pixels(np.repeat(_class(dataset, 0, "the building")[..., None], 3, 2).astype(np.uint8))[..., 0]
    np.testing.assert_array_equal(dataset.mask(record, found), expected.astype(bool))
    for x, y, w, h in found.boxes:
        assert 0 <= x < x + w <= record.width and 0 <= y < y + h <= record.height


def test_reduced_view_has_smaller_objects(tmp_path: Path) -> None:
    dataset = open_dataset("coco", write(tmp_path), "site=A", masks=True)
    record = dataset.viewed(0, View((0, 0, WIDTH, HEIGHT), reduction=2), np.random.default_rng(0))
    (found,) = (r for r in record.referrings if "the building" in r.sentences)
    assert (record.width, record.height) == (30, 20)
    assert found.boxes == ((2, 2, 5, 3), (20, 13, 8, 6)) and dataset.mask(record, found).sum() == 15 + 48


def test_crowd_belongs_to_its_class_and_is_not_told_apart(tmp_path: Path) -> None:
    crowd = [{**each, "iscrowd": 1} if each["id"] == 2 else each for each in ANNOTATIONS]
    (record,) = open_dataset("coco", write(tmp_path, annotations=crowd), "site=A")
    everything, *others = (r for r in record.referrings if not r.no_target)
    assert "the building" in everything.sentences and everything.object_id == (1, 2)
    assert {r.object_id for r in others} <= {(1,)}
    assert not any("largest" in text or "leftmost" in text for r in others for text in r.sentences)


@pytest.mark.parametrize(
    ("changed", "split", "message"),
    [
        ({}, "dusk", "no split 'dusk': it has night; take all, or FIELD=VALUE by a field of its images .*site"),
        ({}, "site=C", "no split 'site=C'"),
        ({"annotations": []}, "all", "labels nothing"),
        ({"images": [{**IMAGES[0], "file_name": "../secret.png"}]}, "all", "leads out of"),
        ({"images": [{**IMAGES[0], "file_name": "none.png"}]}, "all", r"none\.png is missing"),
        ({"images": None}, "all", "missing or damaged"),
        ({"annotations": [{**ANNOTATIONS[0], "bbox": [1, 2]}]}, "all", "missing or damaged"),
        ({"annotations": [{**ANNOTATIONS[0], "bbox": [1, 2, float("nan"), 3]}]}, "all", "the box of annotation 1"),
        ({"annotations": [{**ANNOTATIONS[0], "category_id": 7}]}, "all", "7.* is missing or damaged"),
    ],
)
def test_damaged_file_is_one_line(changed: dict[str, Any], split: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=message) as caught:
        open_dataset("coco", write(tmp_path, **changed), split)
    assert "\n" not in str(caught.value)


def test_several_files_are_not_guessed_between(tmp_path: Path) -> None:
    write(write(tmp_path, "a.json"), "b.json")
    with pytest.raises(DatasetError, match=r"several \.json files \(a\.json, b\.json\)"):
        open_dataset("coco", tmp_path, "all")
