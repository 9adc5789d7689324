"""Datasets by name."""

from pathlib import Path

import pytest

from rsvl.data import DATASETS, QuestionDataset, ReferringDataset, open_dataset
from rsvl.runtime.errors import DatasetError, UsageError


@pytest.mark.parametrize(("name", "nearest"), [("rrsisd", "rrsis-d"), ("RISBench", "risbench"), ("refseg", "refsegrs")])
def test_unknown_name_suggests_the_nearest(tmp_path: Path, name: str, nearest: str) -> None:
    with pytest.raises(UsageError, match=f"unknown dataset '{name}': did you mean {nearest}"):
        open_dataset(name, tmp_path, "val")


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_missing_root_names_the_expected_layout(tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetError) as error:
        open_dataset(name, tmp_path / "absent", "val", DATASETS[name].kind)
    assert DATASETS[name].layout in str(error.value)


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_empty_root_names_the_missing_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetError, match=r"is missing"):
        open_dataset(name, tmp_path, "val", DATASETS[name].kind)


@pytest.mark.parametrize(
    ("name", "kind", "fit"),
    [
        ("rsvqa-lr", ReferringDataset, "rsvqa-lr has questions, not the expressions wanted here: take one of rrsis-d"),
        (
            "dior-rsvg",
            QuestionDataset,
            "dior-rsvg has expressions, not the questions wanted here: take one of rsvqa-lr",
        ),
        ("nothing", QuestionDataset, "unknown dataset 'nothing': choose one of aid, coco, coco-weak-masks, "),
    ],
)
def test_other_kind_of_dataset_names_those_that_fit(tmp_path: Path, name: str, kind: type, fit: str) -> None:
    with pytest.raises(UsageError) as error:
        open_dataset(name, tmp_path, "val", kind)
    assert fit in str(error.value)
