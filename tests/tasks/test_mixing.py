"""What a model trains on, from a JSON file that lists datasets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rsvl.data.mixtures import Augmented, Mixture
from rsvl.data.opposites import WithOpposites
from rsvl.data.synth import write as write_scenes
from rsvl.runtime.errors import DatasetError, UsageError
from rsvl.runtime.manifest import GROUNDING, SEGMENTATION, VQA
from rsvl.tasks.mixing import Ingredient, open_mixture, read_mixture
from tests.support.coco_file import write


def test_listed_datasets_are_opened_under_the_root(tmp_path: Path) -> None:
    write(tmp_path / "own")
    listed = [
        {"data": "coco", "root": "own", "train": "site=A", "val": "", "weight": 2},
        {"data": "coco-weak-masks", "root": "own", "train": "site=B", "val": "night"},
    ]
    (tmp_path / "mix.json").write_text(json.dumps(listed))
    train, val = open_mixture(SEGMENTATION, read_mixture(tmp_path / "mix.json"), tmp_path, augment=True)
    assert isinstance(train, Mixture) and train.weights == (2, 1) and len(train) == 3
    assert all(isinstance(part, Augmented) for part in train.parts)
    assert [record.path.name for record in val[0]] == ["three.png"] and len(val) == 1


def test_one_dataset_stays_as_it_is(tmp_path: Path) -> None:
    write(tmp_path / "own")
    train, (val,) = open_mixture(GROUNDING, [Ingredient("coco", "own", "site=A", "all")], tmp_path)
    assert type(train).__name__ == type(val).__name__ == "COCOObjects"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not readable JSON"),
        ("3", "expected"),
        ("[]", "expected"),
        ('[{"data": "coco"}]', "root.*expected"),
        ('[{"data": "coco", "root": "a", "wieght": 2}]', "wieght"),
        ('[{"data": "coco", "root": 3}]', "expected"),
        ('[{"data": "coco", "root": "a", "weight": 0}]', "above 0"),
        ('[{"data": "coco", "root": "a", "weight": "2"}]', "above 0"),
    ],
)
def test_damaged_list_is_one_line(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "mix.json").write_text(content)
    with pytest.raises(DatasetError, match=message) as caught:
        read_mixture(tmp_path / "mix.json")
    assert "\n" not in str(caught.value)


def test_mixture_without_a_split_to_validate_on_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="split to validate on"):
        open_mixture(SEGMENTATION, [Ingredient("coco-weak-masks", "own", "all", "")], write(tmp_path / "own").parent)


def test_opposites_are_added_to_expressions_and_to_nothing_else(tmp_path: Path) -> None:
    write(tmp_path / "own")
    train, _ = open_mixture(GROUNDING, [Ingredient("coco", "own", "site=A", "all")], tmp_path, opposites=True)
    assert isinstance(train, WithOpposites)
    write_scenes(tmp_path / "asked", scenes=3, size=64, val=1, test=1, task="vqa")
    with pytest.raises(UsageError, match="--opposites are of expressions"):
        open_mixture(VQA, [Ingredient("osvqa", "asked")], tmp_path, opposites=True)


def test_questions_are_not_mixed(tmp_path: Path) -> None:
    questions = Ingredient("osvqa", ".")
    write_scenes(tmp_path, scenes=3, size=64, val=1, test=1, task="vqa")
    with pytest.raises(UsageError, match="only datasets of expressions"):
        open_mixture(VQA, [questions, questions], tmp_path)
