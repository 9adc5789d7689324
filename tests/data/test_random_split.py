"""Splits drawn at random: disjoint, stratified, the same for the same seed."""

from pathlib import Path

import pytest

from rsvl.data import ClassificationDataset, open_dataset
from rsvl.runtime.errors import DatasetError

COUNTS = {"Forest": 40, "SeaLake": 21, "River": 3, "Highway": 1}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Empty files: listing opens none."""
    for name, count in COUNTS.items():
        (tmp_path / name).mkdir()
        for number in range(count):
            (tmp_path / name / f"{name}_{number}.jpg").touch()
    return tmp_path


def opened(root: Path, split: str, data: str = "eurosat") -> ClassificationDataset:
    return open_dataset(data, root, split, ClassificationDataset)


@pytest.mark.filterwarnings("ignore:.*published without splits")
def test_splits_are_disjoint_and_whole_and_stratified(root: Path) -> None:
    parts = {split: [record.path for record in opened(root, split)] for split in ("train", "val", "test")}
    together = [path for paths in parts.values() for path in paths]
    assert sorted(together) == sorted(root.glob("*/*.jpg")) and len(set(together)) == len(together)
    of_class = {
        split: {name: sum(path.parent.name == name for path in paths) for name in COUNTS}
        for split, paths in parts.items()
    }
    assert of_class["test"] == {"Forest": 4, "SeaLake": 2, "River": 1, "Highway": 0}
    assert of_class["val"] == {"Forest": 2, "SeaLake": 1, "River": 1, "Highway": 0}
    assert all(opened(root, split).classes == ("forest", "highway", "river", "sea lake") for split in parts)


@pytest.mark.filterwarnings("ignore:.*published without splits")
def test_seed_chooses_the_split(root: Path) -> None:
    assert list(opened(root, "test")) == list(opened(root, "test@0"))
    assert list(opened(root, "test@1")) != list(opened(root, "test@0"))
    assert set(opened(root, "test@1")).isdisjoint(opened(root, "train@1"))
    assert list(opened(root, "val@2", "scenes")) == list(opened(root, "val@2", "nwpu-resisc45"))


@pytest.mark.filterwarnings("ignore:.*published without splits")
def test_first_images_are_of_several_classes(root: Path) -> None:
    assert len({record.label for record in opened(root, "train")[:12]}) > 1


def test_drawing_is_said_in_one_line(root: Path) -> None:
    with pytest.warns(UserWarning, match=r"\(85%, 5%, 10% of each class\) are drawn at random by seed 7; neighbouring"):
        opened(root, "train@7")


def test_lists_go_before_chance(root: Path) -> None:
    (root / "test.txt").write_text("River/River_1.jpg\n")
    assert [record.label for record in opened(root, "test")] == ["river"]


@pytest.mark.parametrize("split", ["dev", "test@", "test@-1", "test@1.5", "all@1"])
def test_other_names_are_refused(root: Path, split: str) -> None:
    with pytest.raises(DatasetError, match="has no split"):
        opened(root, split)
