"""RefCOCO-style datasets as published: RRSIS-D, RRSIS-HR."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rsvl.data import open_dataset
from rsvl.data.refcoco import _references
from rsvl.runtime.errors import DatasetError
from tests.support.public_layouts import HEIGHT, INSTANCES, REFERENCES, SHIP, TANK, WIDTH, reference, write_refer


def test_train_split_groups_references_by_image(rrsis_d: Path) -> None:
    dataset = open_dataset("rrsis-d", rrsis_d, "train")
    assert len(dataset) == 1
    record = dataset[0]
    assert record.path == rrsis_d / "images/rrsisd/JPEGImages/00001.jpg"
    assert (record.width, record.height) == (WIDTH, HEIGHT)
    assert [r.sentences for r in record.referrings] == [
        ("The white ship", "ship at the top"),
        ("a storage tank",),
        ("the red bridge",),
    ]
    assert [r.category for r in record.referrings] == ["ship", "storage tank", "ship"]
    assert record.referrings[0].bbox == (4.0, 2.0, 10.0, 6.0)
    assert dataset.sentence_count == 4
    assert dataset.categories == ("ship", "storage tank")


def test_rrsis_hr_reads_its_own_folders(tmp_path: Path) -> None:
    dataset = open_dataset("rrsis-hr", write_refer(tmp_path, "rrsishr"), "val")
    assert dataset[0].path == tmp_path / "images/rrsishr/JPEGImages/00002.jpg"
    assert dataset[0].path.is_file()


@pytest.mark.parametrize(
    ("split", "position", "expected"),
    [
        pytest.param("train", 0, SHIP, id="compressed code in a list"),
        pytest.param("train", 1, TANK, id="uncompressed code"),
        pytest.param("train", 2, np.zeros_like(SHIP), id="no target"),
        pytest.param("val", 0, SHIP, id="compressed code"),
        pytest.param("test", 0, SHIP | TANK, id="polygons"),
    ],
)
def test_mask_of_each_public_form_is_decoded(rrsis_d: Path, split: str, position: int, expected: np.ndarray) -> None:
    dataset = open_dataset("rrsis-d", rrsis_d, split)
    record = dataset[0]
    mask = dataset.mask(record, record.referrings[position])
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, expected)
    assert dataset.coverage(record, record.referrings[position]) == pytest.approx(expected.mean())


def test_several_annotations_unite(tmp_path: Path) -> None:
    refs = [reference(1, [11, 12], 1, "train", "the ship and the tank")]
    dataset = open_dataset("rrsis-d", write_refer(tmp_path, refs=refs), "train")
    referring = dataset[0].referrings[0]
    np.testing.assert_array_equal(dataset.mask(dataset[0], referring), SHIP | TANK)
    assert referring.bbox == (4.0, 2.0, 24.0, 16.0)
    assert not referring.no_target


def test_no_target_reference_is_marked(rrsis_d: Path) -> None:
    assert [r.no_target for r in open_dataset("rrsis-d", rrsis_d, "train")[0].referrings] == [False, False, True]


def test_indexing_follows_sequence_rules(rrsis_d: Path) -> None:
    dataset = open_dataset("rrsis-d", rrsis_d, "train")
    assert dataset[-1] == dataset[0]
    assert dataset[:5] == [dataset[0]]
    with pytest.raises(IndexError):
        dataset[1]


def test_unknown_split_lists_those_there_are(rrsis_d: Path) -> None:
    with pytest.raises(DatasetError, match=r"no split 'minival': it has testA, train, val"):
        open_dataset("rrsis-d", rrsis_d, "minival")


@pytest.mark.parametrize("missing", ["rrsisd/refs(unc).p", "rrsisd/instances.json"])
def test_missing_file_is_named(rrsis_d: Path, missing: str) -> None:
    (rrsis_d / missing).unlink()
    with pytest.raises(DatasetError) as error:
        open_dataset("rrsis-d", rrsis_d, "train")
    assert str(rrsis_d / missing) in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_image_folder_is_named(rrsis_d: Path) -> None:
    (rrsis_d / "images/rrsisd/JPEGImages").rename(rrsis_d / "images/elsewhere")
    with pytest.raises(DatasetError, match="images/rrsisd/JPEGImages is missing"):
        open_dataset("rrsis-d", rrsis_d, "train")


def _damage(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """The instances with one value replaced, or removed for None."""
    instances = copy.deepcopy(INSTANCES)
    parent: Any = instances
    for key in path[:-1]:
        parent = parent[key]
    if value is None:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return instances


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("annotations",), None, "'annotations' is missing"),
        (("annotations", 0), None, "11"),
        (("images", 0), None, "1"),
        (("images", 0, "width"), None, "width"),
        (("images", 0, "file_name"), "../../secret.jpg", "leads out of"),
        (("images", 0, "file_name"), "/etc/secret.jpg", "leads out of"),
    ],
)
def test_damaged_instances_are_refused(tmp_path: Path, path: tuple[Any, ...], value: Any, message: str) -> None:
    root = write_refer(tmp_path, instances=_damage(path, value))
    with pytest.raises(DatasetError, match=message):
        open_dataset("rrsis-d", root, "train")


def test_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    root = write_refer(tmp_path, instances=_damage(("images", 0, "width"), WIDTH + 1))
    dataset = open_dataset("rrsis-d", root, "train")
    with pytest.raises(DatasetError, match="its mask is 40x24, the image 41x24"):
        dataset.mask(dataset[0], dataset[0].referrings[0])


def test_damaged_mask_is_refused(tmp_path: Path) -> None:
    counts = INSTANCES["annotations"][0]["segmentation"][0]["counts"]
    instances = _damage(("annotations", 0, "segmentation", 0, "counts"), counts[:-1])
    dataset = open_dataset("rrsis-d", write_refer(tmp_path, instances=instances), "train")
    with pytest.raises(DatasetError, match=r"reference 1 of 00001\.jpg: its segmentation is damaged"):
        dataset.mask(dataset[0], dataset[0].referrings[0])


def test_json_that_is_not_json_is_refused(rrsis_d: Path) -> None:
    (rrsis_d / "rrsisd/instances.json").write_text(json.dumps(INSTANCES)[:-20])
    with pytest.raises(DatasetError, match="not readable JSON"):
        open_dataset("rrsis-d", rrsis_d, "train")


def test_references_written_by_python_2_are_read(tmp_path: Path) -> None:
    dataset = open_dataset("rrsis-d", write_refer(tmp_path, refs=REFERENCES, protocol=2), "val")
    assert dataset[0].referrings[0].sentences == ("The ship",)


@pytest.mark.parametrize("key", ["split", "image_id", "category_id", "ann_id", "ref_id"])
def test_reference_of_nested_tuples_is_refused_at_once(key: str) -> None:
    nested: tuple = ()
    for _ in range(60):
        nested = (nested, nested)
    value = [nested] if key == "ann_id" else nested
    with pytest.raises(DatasetError, match="not a list of references"):
        _references([{"ann_id": 1, key: value}], Path("refs.p"))
