"""A folder a class, whole or in splits."""

from pathlib import Path

import pytest

from rsvl.data import ClassificationDataset, LabelledImage, open_dataset
from rsvl.data.image_folder import in_words
from rsvl.runtime.errors import DatasetError


def touch(root: Path, *files: str) -> Path:
    """Empty files: listing opens none."""
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def opened(root: Path, split: str) -> ClassificationDataset:
    """The dataset under the root."""
    return open_dataset("scenes", root, split, ClassificationDataset)


@pytest.mark.parametrize("above", ["", "2750/", "UCMerced_LandUse/Images/"])
def test_all_lists_every_class_folder(tmp_path: Path, above: str) -> None:
    root = touch(tmp_path, f"{above}River/b.jpg", f"{above}River/a.tif", f"{above}Forest/1.PNG", f"{above}Forest/x.txt")
    found = opened(root, "all")
    folder = tmp_path / above
    assert list(found) == [
        LabelledImage(folder / "Forest/1.PNG", "forest"),
        LabelledImage(folder / "River/a.tif", "river"),
        LabelledImage(folder / "River/b.jpg", "river"),
    ]
    assert found.classes == ("forest", "river")


@pytest.mark.parametrize(
    ("folder", "words"),
    [("AnnualCrop", "annual crop"), ("open_water", "open water"), ("SeaLake", "sea lake"), ("port", "port"),
     ("tenniscourt", "tennis court"), ("Railway-Station", "railway station"), ("BareLand", "bare land")],
)  # fmt: skip
def test_classes_are_called_in_words(folder: str, words: str) -> None:
    assert in_words(folder) == words


def test_split_folders_are_splits_and_share_their_classes(tmp_path: Path) -> None:
    root = touch(tmp_path, "train/port/1.jpg", "train/farm/2.jpg", "val/farm/3.jpg")
    assert [image.label for image in opened(root, "val")] == ["farm"]
    assert opened(root, "val").classes == ("farm", "port")
    assert len(opened(root, "all")) == 3


def test_lists_are_splits(tmp_path: Path) -> None:
    root = touch(tmp_path, "AID/port/1.jpg", "AID/port/2.jpg", "AID/farm/2.jpg")
    (root / "test.txt").write_text("port/2.jpg\nfarm/2.jpg\n")
    assert [(i.path.name, i.label) for i in opened(root, "test")] == [("2.jpg", "port"), ("2.jpg", "farm")]
    assert opened(root, "test").classes == ("farm", "port")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("port/9.jpg", "line 1: 'port/9.jpg' is no image"),
        ("1.jpg", "is no image"),
        ("../1.jpg", "leads out of"),
    ],
)
def test_list_with_a_wrong_line_is_refused(tmp_path: Path, line: str, message: str) -> None:
    root = touch(tmp_path, "port/1.jpg", "farm/1.jpg", "1.jpg")
    (root / "val.txt").write_text(line)
    with pytest.raises(DatasetError, match=message):
        opened(root, "val")


def test_absent_split_says_how_to_make_one(tmp_path: Path) -> None:
    root = touch(tmp_path, "port/1.jpg", "farm/1.jpg")
    with pytest.raises(DatasetError, match=r"no split 'val': it has all; or list its images in val\.txt as CLASS/FILE"):
        opened(root, "val")


def test_published_lists_name_files_alone(tmp_path: Path) -> None:
    root = touch(tmp_path, "2750/River/River_1.tif", "2750/Forest/Forest_1.tif", "2750/Forest/Forest_2.tif")
    (root / "eurosat-train.txt").write_text("Forest_2.jpg\nRiver_1.jpg\n")
    (root / "eurosat-spatial-test.txt").write_text("Forest_1.jpg\n")
    found = open_dataset("eurosat", root, "train", ClassificationDataset)
    assert [(image.path.name, image.label) for image in found] == [("Forest_2.tif", "forest"), ("River_1.tif", "river")]
    assert len(open_dataset("eurosat", root, "spatial-test", ClassificationDataset)) == 1
    (root / "eurosat-val.txt").write_text("Forest_3.jpg\n")
    with pytest.raises(DatasetError, match=r"line 1: 'Forest_3\.jpg' is no image"):
        open_dataset("eurosat", root, "val", ClassificationDataset)
