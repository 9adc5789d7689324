"""Data sets by name."""

from pathlib import Path

import pytest

from rsvl.data import DATASETS, open_dataset
from rsvl.runtime.errors import DatasetError, UsageError


@pytest.mark.parametrize(("name", "nearest"), [("rrsisd", "rrsis-d"), ("RISBench", "risbench"), ("refseg", "refsegrs")])
def test_unknown_name_suggests_the_nearest(tmp_path: Path, name: str, nearest: str) -> None:
    with pytest.raises(UsageError, match=f"unknown data set '{name}': did you mean {nearest}"):
        open_dataset(name, tmp_path, "val")


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_missing_root_names_the_expected_layout(tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetError) as error:
        open_dataset(name, tmp_path / "absent", "val")
    assert DATASETS[name].layout in str(error.value)


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_empty_root_names_the_missing_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetError, match=r"is missing"):
        open_dataset(name, tmp_path, "val")
