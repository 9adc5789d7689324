"""RSVQA's three linked tables, and OSVQA's form of them with two images per place."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rsvl.data import Question, QuestionDataset, open_dataset
from rsvl.data.rsvqa import in_ranges
from rsvl.runtime.errors import DatasetError

INACTIVE = {"active": False}


def tables(**images: Any) -> dict[str, list[dict[str, Any]]]:
    """Image 3 with questions 0 and 2, image 5 with question 7; the rest belongs to other splits."""
    return {
        "images": [
            {"id": 0, **INACTIVE},
            {"id": 3, "sensor": "Sentinel-2", "questions_ids": [0, 2, 4], "active": True, **images},
            {"id": 5, "questions_ids": [7], "active": True, **images},
            {"id": 6, "questions_ids": [], "active": True, **images},
        ],
        "questions": [
            question(0, "Is there a road?", "presence", [10]),
            question(2, "How many ponds are there?", "count", [12, 11]),
            {"id": 4, **INACTIVE},
            question(7, "What is the area of the farmland?", "area", [11]),
        ],
        "answers": [answer(10, "yes"), answer(11, "2500m2"), answer(12, "37"), {"id": 13, **INACTIVE}],
    }


def question(key: int, text: str, kind: str, answers: list[int]) -> dict[str, Any]:
    """A question as published."""
    return {"id": key, "img_id": 3, "type": kind, "question": text, "answers_ids": answers, "active": True}


def answer(key: int, text: str) -> dict[str, Any]:
    """An answer as published."""
    return {"id": key, "answer": text, "active": True}


def write(root: Path, prefix: str, split: str, found: dict[str, Any]) -> Path:
    """Writes a split's tables."""
    for table, entries in found.items():
        (root / f"{prefix}_split_{split}_{table}.json").write_text(json.dumps({table: entries}))
    return root


@pytest.fixture
def rsvqa(tmp_path: Path) -> Path:
    """The root of an RSVQA that has both resolutions' files."""
    for prefix, folder in (("LR", "Images_LR"), ("USGS", "Data")):
        write(tmp_path, prefix, "val", tables())
        (tmp_path / folder).mkdir()
        for key in (3, 5):
            Image.new("RGB", (20, 10 + key)).save(tmp_path / folder / f"{key}.tif")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "count", "folder"),
    [("rsvqa-lr", "between 10 and 100", "Images_LR"), ("rsvqa-hr", "37", "Data")],
)
def test_active_questions_come_image_by_image(rsvqa: Path, name: str, count: str, folder: str) -> None:
    val = open_dataset(name, rsvqa, "val", QuestionDataset)
    assert [(r.optical, r.sar, r.width, r.height) for r in val] == [
        (rsvqa / folder / "3.tif", None, 20, 13), (rsvqa / folder / "5.tif", None, 20, 15),
    ]  # fmt: skip
    assert [r.questions for r in val] == [
        (Question(0, "Is there a road?", "yes", "presence"), Question(2, "How many ponds are there?", count, "count")),
        (Question(7, "What is the area of the farmland?", "more than 1000m2", "area"),),
    ]


def test_types_are_sorted_and_answers_commonest_first(tmp_path: Path) -> None:
    found = tables()
    found["questions"].append(question(8, "Is it rural?", "rural_urban", [12]))
    found["images"][2]["questions_ids"].append(8)
    (tmp_path / "Data").mkdir()
    val = open_dataset("rsvqa-hr", write(tmp_path, "USGS", "val", found), "val", QuestionDataset)
    assert val.types == ("area", "count", "presence", "rural_urban")
    assert val.answers == ("37", "more than 1000m2", "yes")
    assert len(val.questions) == 4


@pytest.mark.parametrize(
    ("answer", "counts", "expected"),
    [
        ("yes", True, "yes"),
        ("0", True, "0"),
        ("1", True, "between 0 and 10"),
        ("10", True, "between 0 and 10"),
        ("11", True, "between 10 and 100"),
        ("1000", True, "between 100 and 1000"),
        ("1001", True, "more than 1000"),
        ("1001", False, "1001"),
        ("0m2", False, "0m2"),
        ("100m2", False, "between 10m2 and 100m2"),
        ("101m2", True, "between 100m2 and 1000m2"),
        ("5000m2", False, "more than 1000m2"),
        ("m2", False, "m2"),
    ],
)
def test_numbers_are_given_in_the_papers_ranges(answer: str, counts: bool, expected: str) -> None:
    assert in_ranges(answer, counts) == expected


def pair(root: Path, optical: tuple[int, int] | None = (8, 6), sar: tuple[int, int] | None = (8, 6)) -> Path:
    """An OSVQA whose images all show one place by two sensors, of these sizes."""
    files = {"optical": "Optical/a.jpg", "sar": "SAR/a.png"}
    for size, (sensor, file) in zip((optical, sar), files.items(), strict=True):
        (root / file).parent.mkdir()
        if size:
            Image.new("L" if sensor == "sar" else "RGB", size).save(root / file)
    present = {s: file if size else None for (s, file), size in zip(files.items(), (optical, sar), strict=True)}
    return write(root, "OSVQA", "test", tables(**present))


@pytest.mark.parametrize(("optical", "sar"), [((8, 6), (8, 6)), ((8, 6), None), (None, (8, 6))])
def test_either_sensor_may_be_missing(tmp_path: Path, optical: Any, sar: Any) -> None:
    record = open_dataset("osvqa", pair(tmp_path, optical, sar), "test", QuestionDataset)[0]
    assert record.optical == (tmp_path / "Optical/a.jpg" if optical else None)
    assert record.sar == (tmp_path / "SAR/a.png" if sar else None)
    assert (record.width, record.height) == (8, 6)


def test_pair_of_two_sizes_is_refused(tmp_path: Path) -> None:
    test = open_dataset("osvqa", pair(tmp_path, sar=(8, 7)), "test", QuestionDataset)
    with pytest.raises(DatasetError, match=r"is 8x6 and .* 8x7: a pair must be of one size"):
        test[0]


def test_image_with_neither_sensor_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="neither an optical nor a SAR file"):
        open_dataset("osvqa", pair(tmp_path, None, None), "test", QuestionDataset)


def test_absent_split_names_those_there_are(rsvqa: Path) -> None:
    with pytest.raises(DatasetError, match=r"LR_split_test_images\.json is missing: the root has the splits val"):
        open_dataset("rsvqa-lr", rsvqa, "test", QuestionDataset)


@pytest.mark.parametrize(
    ("table", "text", "message"),
    [
        ("images", '{"images": [', "not readable JSON"),
        ("images", "[]", "not a table of images: it holds a list"),
        ("questions", '{"answers": []}', "not a table of questions: KeyError"),
        ("questions", '{"questions": [{"active": true}]}', "not a table of questions"),
        ("answers", '{"answers": []}', "do not fit each other: KeyError"),
        ("images", '{"images": [{"id": 3}]}', "do not fit each other: KeyError"),
        ("images", '{"images": []}', "has no questions"),
    ],
)
def test_damaged_table_is_one_line(rsvqa: Path, table: str, text: str, message: str) -> None:
    (rsvqa / f"LR_split_val_{table}.json").write_text(text)
    with pytest.raises(DatasetError, match=message) as error:
        open_dataset("rsvqa-lr", rsvqa, "val", QuestionDataset)
    assert "\n" not in str(error.value)


def test_file_outside_the_root_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "OSVQA", "test", tables(optical="../secret.png", sar=None))
    with pytest.raises(DatasetError, match="leads out of"):
        open_dataset("osvqa", tmp_path, "test", QuestionDataset)
