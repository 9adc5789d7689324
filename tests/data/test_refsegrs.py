"""Phrase-list datasets as published: RefSegRS, RISBench."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rsvl.data import open_dataset
from rsvl.runtime.errors import DatasetError
from tests.support.public_layouts import HEIGHT, SHIP, WIDTH, write_phrases, write_refer

RISBENCH = {"train": ["train_0_0.png a ship"], "val": ["train_1_0.png the grey ship on the left"]}


def test_refsegrs_phrases_of_an_image_are_one_referring(refsegrs: Path) -> None:
    dataset = open_dataset("refsegrs", refsegrs, "train")
    assert [r.path for r in dataset] == [refsegrs / "images/12.tif", refsegrs / "images/7.tif"]
    assert [r.referrings[0].sentences for r in dataset] == [("road in the middle", "the road"), ("van",)]
    assert (dataset[0].width, dataset[0].height) == (WIDTH, HEIGHT)
    assert dataset.sentence_count == 3
    np.testing.assert_array_equal(dataset.mask(dataset[0], dataset[0].referrings[0]), SHIP)


@pytest.mark.parametrize("below", ["", "RISBench_dataset"])
def test_risbench_names_carry_their_extension(tmp_path: Path, below: str) -> None:
    write_phrases(tmp_path / below, RISBENCH, "img_rgb", "mask", "")
    dataset = open_dataset("risbench", tmp_path, "val")
    assert dataset[0].path == tmp_path / below / "img_rgb/train_1_0.png"
    assert dataset[0].referrings[0].sentences == ("the grey ship on the left",)
    np.testing.assert_array_equal(dataset.mask(dataset[0], dataset[0].referrings[0]), SHIP)


def test_risbench_converted_to_refcoco_style_is_read_too(tmp_path: Path) -> None:
    dataset = open_dataset("risbench", write_refer(tmp_path, "risbench"), "val")
    assert dataset[0].referrings[0].category == "ship"


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        pytest.param(SHIP.astype(np.uint8), SHIP, id="0 and 1"),
        pytest.param(np.where(SHIP, 255, 20).astype(np.uint8), SHIP, id="faint background"),
        pytest.param(np.repeat(SHIP[..., None].astype(np.uint8) * 255, 3, axis=2), SHIP, id="three channels"),
        pytest.param(np.zeros_like(SHIP, dtype=np.uint8), np.zeros_like(SHIP), id="empty"),
    ],
)
def test_mask_values_are_binarised(refsegrs: Path, stored: np.ndarray, expected: np.ndarray) -> None:
    Image.fromarray(stored).save(refsegrs / "masks/3.tif")
    dataset = open_dataset("refsegrs", refsegrs, "test")
    np.testing.assert_array_equal(dataset.mask(dataset[0], dataset[0].referrings[0]), expected)


def test_missing_split_lists_those_there_are(refsegrs: Path) -> None:
    with pytest.raises(DatasetError, match=r"output_phrase_val\.txt is missing: the root has the splits test, train"):
        open_dataset("refsegrs", refsegrs, "val")


@pytest.mark.parametrize("folder", ["images", "masks"])
def test_missing_folder_is_named(refsegrs: Path, folder: str) -> None:
    (refsegrs / folder).rename(refsegrs / "elsewhere")
    with pytest.raises(DatasetError, match=f"{folder} is missing"):
        open_dataset("refsegrs", refsegrs, "train")


@pytest.mark.parametrize(("line", "message"), [("9", "line 1: expected an id"), ("../9 a car", "leads out of")])
def test_bad_line_is_refused(refsegrs: Path, line: str, message: str) -> None:
    (refsegrs / "output_phrase_test.txt").write_text(line + "\n")
    with pytest.raises(DatasetError, match=message):
        open_dataset("refsegrs", refsegrs, "test")[0]


@pytest.mark.parametrize("damaged", ["images/3.tif", "masks/3.tif"])
def test_truncated_file_is_named(refsegrs: Path, damaged: str) -> None:
    path = refsegrs / damaged
    path.write_bytes(path.read_bytes()[:60])
    dataset = open_dataset("refsegrs", refsegrs, "test")
    with pytest.raises(DatasetError, match=r"3\.tif is not a readable"):
        dataset.mask(dataset[0], dataset[0].referrings[0])
