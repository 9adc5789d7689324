"""DIOR-RSVG's layout: numbers that run through all annotations, boxes by their corners, one sensor per image."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rsvl.data import ReferringDataset, open_dataset
from rsvl.runtime.errors import DatasetError

SIZE = "<size><width>800</width><height>600</height><depth>3</depth></size>"


def thing(name: str, corners: tuple[int, int, int, int] | None, text: str, more: str = "") -> str:
    """An object as DIOR-RSVG writes it."""
    tags = zip(("xmin", "ymin", "xmax", "ymax"), corners or (), strict=False)
    box = "".join(f"<{tag}>{value}</{tag}>" for tag, value in tags)
    return (
        f"<object><name>{name}</name><pose>Unspecified</pose><bndbox>{box}</bndbox>"
        f"<description>{text}</description>{more}</object>"
    )


GOLF = thing("golffield", (133, 237, 684, 672), "A green and brown golf field")
SHIP = thing("ship", (10, 20, 30, 60), "The ship on the left")
SHIP_AGAIN = thing("ship", (10, 20, 30, 60), "A small ship")
DAM = thing("dam", (0, 0, 799, 100), "The dam")
NOTHING = thing("ship", None, "The red ship", "<no_target>1</no_target>")


def annotation(file: str, *objects: str, size: str = SIZE, sensor: str = "") -> str:
    """An annotation file."""
    return (
        f'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n<annotation><filename>{file}</filename>'
        f"<source><database>DIOR</database></source>{sensor}{size}{''.join(objects)}</annotation>"
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Objects 0, then 1 to 3, then 4 and 5."""
    for folder in ("Annotations", "JPEGImages"):
        (tmp_path / folder).mkdir()
    # Made in another order than the names': the numbers follow the names.
    write(tmp_path, "00010", annotation("00010.jpg", DAM, NOTHING, sensor="<sensor>SAR</sensor>"))
    write(tmp_path, "00002", annotation("00002.jpg", SHIP, SHIP_AGAIN, DAM, size=""))
    write(tmp_path, "00001", annotation("00001.jpg", GOLF))
    Image.new("RGB", (320, 200)).save(tmp_path / "JPEGImages/00002.jpg")
    (tmp_path / "train.txt").write_text("3\n0\n1\n")
    (tmp_path / "val.txt").write_text("2\n4\n5\n\n")
    return tmp_path


def write(root: Path, stem: str, text: str) -> None:
    """Writes an annotation."""
    (root / "Annotations" / f"{stem}.xml").write_text(text)


def test_numbers_run_through_the_annotations_by_name(root: Path) -> None:
    train = open_dataset("dior-rsvg", root, "train")
    assert [(r.path.name, [x.ref_id for x in r.referrings]) for r in train] == [
        ("00001.jpg", [0]),
        ("00002.jpg", [1, 3]),
    ]
    assert [x.sentences for r in train for x in r.referrings] == [
        ("A green and brown golf field",), ("The ship on the left",), ("The dam",),
    ]  # fmt: skip
    assert train.categories == ("dam", "golffield", "ship") and train.sentence_count == 3


def test_boxes_are_corners_and_differences(root: Path) -> None:
    golf = open_dataset("dior-rsvg", root, "train")[0]
    assert golf.referrings[0].bbox == (133, 237, 551, 435)
    assert (golf.width, golf.height) == (800, 600)


def test_size_comes_from_the_image_where_the_annotation_has_none(root: Path) -> None:
    ships = open_dataset("dior-rsvg", root, "train")[1]
    assert (ships.width, ships.height) == (320, 200)


def test_same_box_is_the_same_object(root: Path) -> None:
    (root / "all.txt").write_text("\n".join("012345"))
    ship, again, dam = open_dataset("dior-rsvg", root, "all")[1].referrings
    assert ship.object_id == again.object_id != dam.object_id


def test_sensor_and_absence_are_read(root: Path) -> None:
    val = open_dataset("optsar-rsvg", root, "val")
    assert [record.sensor for record in val] == ["optical", "sar"]
    dam, nothing = val[1].referrings
    assert not dam.no_target and nothing.no_target and nothing.bbox is None
    assert val.box(val[1], nothing) is None and val.box(val[1], dam) == (0, 0, 799, 100)


def test_masks_are_refused(root: Path) -> None:
    val = open_dataset("dior-rsvg", root, "val")
    assert not val.has_masks
    with pytest.raises(DatasetError, match="boxes only"):
        val.mask(val[0], val[0].referrings[0])


def test_archives_own_folder_may_stand_between(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outer = tmp_path_factory.mktemp("outer")
    root.rename(outer / "DIOR_RSVG")
    assert len(open_dataset("dior-rsvg", outer, "train")) == 2
    (outer / "DIOR_RSVG").rename(root)


@pytest.mark.parametrize(
    ("stem", "text", "message"),
    [
        ("00001", annotation("00001.jpg", thing("dam", None, "The dam")), "object 0 has no box"),
        ("00001", annotation("00001.jpg", thing("dam", (9, 9, 9, 20), "The dam")), "object 0 has no box, or an empty"),
        ("00001", annotation("00001.jpg", thing("dam", (1, 1, 9, 9), " ")), "object 0 has no description"),
        ("00001", annotation("../../secret.jpg", GOLF), "leads out of"),
        ("00001", annotation("", GOLF), "annotation file is damaged"),
        ("00001", annotation("00001.jpg", GOLF, sensor="<sensor>lidar</sensor>"), "'lidar' is neither"),
        ("00001", annotation("00001.jpg", GOLF).replace("800", "wide"), "download it again"),
        ("00001", annotation("00001.jpg", GOLF)[:-9], "not readable XML"),
    ],
)
def test_damaged_annotation_is_one_line(root: Path, stem: str, text: str, message: str) -> None:
    write(root, stem, text)
    with pytest.raises(DatasetError, match=message) as error:
        open_dataset("optsar-rsvg", root, "train")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("0\nseven\n", "train.txt, line 2: expected an object's number, not 'seven'"),
        ("6\n", "train.txt names object 6, but .* has only 6"),
        ("-1\n", "no numbers from 0 on"),
        ("\n", "no numbers from 0 on"),
    ],
)
def test_damaged_list_is_one_line(root: Path, lines: str, message: str) -> None:
    (root / "train.txt").write_text(lines)
    with pytest.raises(DatasetError, match=message):
        open_dataset("dior-rsvg", root, "train")


def test_absent_split_names_those_there_are(root: Path) -> None:
    with pytest.raises(DatasetError, match=r"test\.txt is missing: the splits under the root are: train, val"):
        open_dataset("dior-rsvg", root, "test")


class _MaskOnly(ReferringDataset):
    """A dataset without boxes."""

    def _decode(self, record: object, referring: object) -> np.ndarray:
        mask = np.zeros((6, 9), bool)
        mask[2:5, 3:8] = mask[1, 4] = True
        return mask


def test_box_is_the_masks_where_none_is_given() -> None:
    from rsvl.data import ImageRecord, Referring

    record = ImageRecord(Path("x"), 9, 6, (Referring(0, ("a",)),))
    assert _MaskOnly().box(record, record.referrings[0]) == (3, 1, 5, 4)
