"""RSICD's file of captions."""

import json
from pathlib import Path
from typing import Any

import pytest

from rsvl.data import CaptionDataset, CaptionedImage, open_dataset
from rsvl.runtime.errors import DatasetError


def entry(name: str, split: str, *sentences: str) -> dict[str, Any]:
    """An image as RSICD lists it."""
    texts = [{"raw": text, "tokens": text.split(), "sentid": i} for i, text in enumerate(sentences)]
    return {"filename": name, "split": split, "imgid": 0, "sentences": texts}


ENTRIES = [entry("a.jpg", "train", "many planes .", "planes are parked ."), entry("b.tif", "test", "a pond .")]


@pytest.mark.parametrize(
    ("name", "file", "folder"),
    [
        ("rsicd", "dataset_rsicd.json", "RSICD_images"),
        ("rsitmd", "dataset_RSITMD.json", "images"),
        ("ucm-captions", "dataset.json", "imgs"),
    ],
)
def test_images_come_with_all_their_sentences(tmp_path: Path, name: str, file: str, folder: str) -> None:
    (tmp_path / file).write_text(json.dumps({"images": ENTRIES, "dataset": name}))
    (tmp_path / folder).mkdir()
    train = open_dataset(name, tmp_path, "train", CaptionDataset)
    assert list(train) == [CaptionedImage(tmp_path / folder / "a.jpg", ("many planes .", "planes are parked ."))]


@pytest.mark.parametrize(
    ("images", "split", "message"),
    [
        (ENTRIES, "val", "has no split 'val': it has test, train"),
        ([entry("../a.jpg", "train", "x")], "train", "leads out of"),
        ([entry("a.jpg", "train", " ")], "train", "has no caption"),
        ([{"filename": "a.jpg", "split": "train"}], "train", "KeyError"),
        (None, "train", "it has none"),
        ([3], "train", "not a file of captions"),
    ],
)
def test_damaged_file_is_one_line(tmp_path: Path, images: Any, split: str, message: str) -> None:
    (tmp_path / "dataset_rsicd.json").write_text(json.dumps({"images": images}))
    (tmp_path / "RSICD_images").mkdir()
    with pytest.raises(DatasetError, match=message) as error:
        open_dataset("rsicd", tmp_path, split, CaptionDataset)
    assert "\n" not in str(error.value)
