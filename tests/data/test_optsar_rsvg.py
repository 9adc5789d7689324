"""OptSAR-RSVG's published layout: COCO's JSON with captions, the sensor in the category's name."""

from pathlib import Path
from typing import Any

import pytest

from rsvl.data import open_dataset
from rsvl.runtime.errors import DatasetError
from tests.support.optsar_rsvg import ANNOTATIONS, IMAGES, annotation, write


@pytest.mark.parametrize("folder", ["", "OptSAR-RSVG"])
def test_images_boxes_and_sensors_are_read(folder: str, tmp_path: Path) -> None:
    write(tmp_path / folder)
    first, second = open_dataset("optsar-rsvg", tmp_path, "train")
    assert first.path == tmp_path / folder / "images" / "train" / "opt_000001.jpg"
    assert (first.width, first.height, first.sensor, second.sensor) == (800, 600, "optical", "sar")
    assert [(r.ref_id, r.sentences, r.category, r.bbox) for r in first.referrings] == [
        (0, ("The red car on the left",), "optical vehicle", (10, 20, 30.5, 12)),
        (1, ("the long bridge",), "optical bridge", (0, 100, 640, 40)),
        (3, ("the vehicle beside the bridge",), "optical vehicle", (10, 20, 30.5, 12)),
    ]
    assert [r.ref_id for r in second.referrings] == [2]


def test_same_box_is_the_same_object(tmp_path: Path) -> None:
    dataset = open_dataset("optsar-rsvg", write(tmp_path), "train")
    car, bridge, again = dataset[0].referrings
    assert car.object_id == again.object_id != bridge.object_id
    assert dataset.categories == ("optical bridge", "optical vehicle", "sar ship") and not dataset.has_masks


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"annotations": ANNOTATIONS[4:]}, "describes nothing"),
        ({"annotations": [annotation(0, 9, 0, "the car", [1, 1, 5, 5])]}, "damaged"),
        ({"annotations": [annotation(0, 1, 0, "the car", [1, 1])]}, "damaged"),
        ({"annotations": [*ANNOTATIONS[:1], annotation(9, 1, 2, "the ship", [1, 1, 5, 5])]}, "of one sensor"),
        ({"images": [{**IMAGES[0], "file_name": "../../secret.jpg"}, IMAGES[1]]}, "leads out of"),
        ({"images": None}, "damaged"),
    ],
)
def test_damaged_annotations_are_one_line(changed: dict[str, Any], message: str, tmp_path: Path) -> None:
    write(tmp_path, **changed)
    with pytest.raises(DatasetError, match=message) as caught:
        open_dataset("optsar-rsvg", tmp_path, "train")
    assert "\n" not in str(caught.value)


def test_missing_split_names_those_that_are_there(tmp_path: Path) -> None:
    write(write(tmp_path, "train"), "val")
    with pytest.raises(DatasetError, match="the splits under the root are: train, val"):
        open_dataset("optsar-rsvg", tmp_path, "test")
