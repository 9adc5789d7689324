"""FloodNet's questions as published: one JSON object a file, answers that are words or numbers."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rsvl.data import QuestionDataset, open_dataset
from rsvl.runtime.errors import DatasetError


def _asked(image: str, text: str, kind: str, **answer: Any) -> dict[str, Any]:
    return {"Image_ID": image, "Question": text, "Question_Type": kind, **answer}


QUESTIONS = {
    "0": _asked("1.JPG", "What is the condition of the image?", "Condition_Recognition", Ground_Truth="flooded"),
    "1": _asked("2.JPG", "How many buildings are in this image?", "Simple_Counting", Ground_Truth=3),
    "7": _asked("1.JPG", "Is the entire road flooded?", "Yes_No", Ground_Truth="No", Program="Scene"),
}  # fmt: skip


def _write(root: Path, questions: Any = QUESTIONS, folder: str = "Images") -> Path:
    (root / folder).mkdir(parents=True)
    (root / "Question.json").write_text(json.dumps(questions))
    for name in ("1.JPG", "2.JPG"):
        Image.new("RGB", (8, 6)).save(root / folder / name, "JPEG")
    return root


def _open(root: Path, split: str = "all") -> QuestionDataset:
    return open_dataset("floodnet-vqa", root, split, QuestionDataset)


@pytest.mark.parametrize("folder", ["Images", "Train_Image"])
def test_questions_are_grouped_by_image_with_their_answers(folder: str, tmp_path: Path) -> None:
    first, second = _open(_write(tmp_path, folder=folder))
    assert first.optical == tmp_path / folder / "1.JPG" and first.sar is None and (first.width, first.height) == (8, 6)
    assert [(q.question_id, q.answer, q.type) for q in first.questions] == [
        (0, "flooded", "Condition_Recognition"),
        (7, "No", "Yes_No"),
    ]
    assert [(q.text, q.answer) for q in second.questions] == [("How many buildings are in this image?", "3")]


def test_training_and_validation_share_no_image_and_miss_none(tmp_path: Path) -> None:
    names = [f"{number}.JPG" for number in range(200)]
    asked = {str(k): _asked(name, "Is it?", "Yes_No", Ground_Truth="Yes") for k, name in enumerate(names)}
    _write(tmp_path, asked)
    train, val = ({q.question_id for q in _open(tmp_path, split).questions} for split in ("train", "val"))
    assert train.isdisjoint(val) and train | val == set(range(200)) and 8 <= len(val) <= 35


@pytest.mark.parametrize("split", ["test", "Valid"])
def test_split_without_answers_says_why(split: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="kept those of its validation and test questions; take all, train, val"):
        _open(_write(tmp_path), split)


@pytest.mark.parametrize(
    ("questions", "message"),
    [
        ({"0": _asked("1.JPG", "Is it?", "Yes_No")}, "'Ground_Truth'.* is missing"),
        ({"0": _asked("1.JPG", "Is it?", "Yes_No", Ground_Truth=[1])}, "damaged"),
        ({"first": _asked("1.JPG", "Is it?", "Yes_No", Ground_Truth=1)}, "damaged"),
        ({"0": _asked("../1.JPG", "Is it?", "Yes_No", Ground_Truth=1)}, "leads out of"),
        ({"0": "Is it?"}, "damaged"),
        ([], "holds a list"),
        ({}, "no questions"),
    ],
)
def test_damaged_questions_are_one_line(questions: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=message) as caught:
        _open(_write(tmp_path, questions))
    assert "\n" not in str(caught.value)
