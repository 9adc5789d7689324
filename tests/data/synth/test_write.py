"""A synthetic dataset on disk: what COCO's own reader finds in it, and that nothing half-written is left."""

import hashlib
import importlib
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as run_length
from pycocotools.coco import COCO

from rsvl.data.synth import CATEGORIES, Scene, generate, write
from rsvl.runtime.errors import OutputError, UsageError

_SEED, _SIZE, _SCENES = 5, 128, 8


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synth") / "set"
    write(folder, _SCENES, _SEED, _SIZE, val=0.25, test=1, sensor="both")
    return folder


@pytest.fixture(scope="module")
def coco(root: Path) -> COCO:
    return COCO(root / "rrsisd" / "instances.json")


def _digest(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def scenes() -> dict[int, Scene]:
    """The same scenes by image id, generated again."""
    return {index + 1: generate((_SEED, index), _SIZE, with_sar=True) for index in range(_SCENES)}


def test_coco_finds_every_object_of_every_scene(coco: COCO, scenes: dict[int, Scene]) -> None:
    assert len(coco.getImgIds()) == _SCENES
    assert {c["name"]: c["id"] for c in coco.loadCats(coco.getCatIds())} == {c.name: c.id for c in CATEGORIES.values()}
    for image_id in coco.getImgIds():
        scene = scenes[image_id]
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=image_id))
        assert len(annotations) == len(scene.objects)
        for annotation, thing in zip(annotations, scene.objects, strict=True):
            mask = run_length.decode(annotation["segmentation"])[..., 0]  # as RRSIS-D's public loader decodes it
            np.testing.assert_array_equal(mask.astype(bool), thing.mask)
            assert annotation["area"] == run_length.area(annotation["segmentation"])[0]
            assert annotation["bbox"] == run_length.toBbox(annotation["segmentation"])[0].tolist()
            assert annotation["obb"] == pytest.approx(thing.obb, abs=0.01)


def test_references_are_plain_and_point_at_what_they_name(root: Path, coco: COCO, scenes: dict[int, Scene]) -> None:
    refs = pickle.loads((root / "rrsisd" / "refs(unc).p").read_bytes())
    assert len({ref["ref_id"] for ref in refs}) == len(refs)
    sent_ids = [i for ref in refs for i in ref["sent_ids"]]
    assert sent_ids == list(range(len(sent_ids)))
    for ref in refs:
        assert {type(value) for value in ref.values()} <= {int, str, list, bool}
        wanted = {e.text: e.target for e in scenes[ref["image_id"]].expressions}
        first = min(coco.getAnnIds(imgIds=ref["image_id"]))
        for sentence in ref["sentences"]:
            target = wanted[sentence["raw"]]
            assert ref["ann_id"] == (-1 if target is None else first + target)
            assert ref.get("no_target", False) == (target is None)
        if ref["ann_id"] != -1:
            assert coco.anns[ref["ann_id"]]["category_id"] == ref["category_id"]


def test_splits_are_by_scene_and_of_the_size_asked_for(root: Path) -> None:
    refs = pickle.loads((root / "rrsisd" / "refs(unc).p").read_bytes())
    images = {split: {r["image_id"] for r in refs if r["split"] == split} for split in ("train", "val", "test")}
    assert {split: len(found) for split, found in images.items()} == {"train": 5, "val": 2, "test": 1}
    assert not images["train"] & images["val"] and not images["train"] & images["test"]


def test_images_are_the_scenes_but_for_jpeg_loss(root: Path, scenes: dict[int, Scene]) -> None:
    for index in (0, 3):
        name = f"{index:06d}.jpg"
        scene = scenes[index + 1]
        read = cv2.imread(str(root / "images/rrsisd/JPEGImages" / name))[..., ::-1]
        assert np.abs(read.astype(int) - scene.image).mean() < 6
        radar = cv2.imread(str(root / "images/rrsisd/SARImages" / name), cv2.IMREAD_GRAYSCALE)
        assert scene.sar is not None and np.abs(radar.astype(int) - scene.sar).mean() < 6


def test_number_of_workers_does_not_change_the_files(root: Path, tmp_path: Path) -> None:
    write(tmp_path / "two", _SCENES, _SEED, _SIZE, val=0.25, test=1, sensor="both", workers=2)
    assert _digest(tmp_path / "two") == _digest(root)


def test_progress_counts_up_to_all_scenes(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    write(tmp_path / "set", 3, size=64, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scenes": 0}, "at least one scene"),
        ({"scenes": 4, "val": 3, "test": 2}, "do not fit"),
        ({"scenes": 4, "val": -1}, "0 or more"),
        ({"scenes": 4, "seed": -1}, "seed of 0 or more"),
        ({"scenes": 4, "workers": 0}, "one worker"),
        ({"scenes": 4, "size": 8}, "64 to 2048"),
    ],
)
def test_wrong_usage_is_refused_and_leaves_nothing(tmp_path: Path, arguments: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        write(tmp_path / "set", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="not an empty folder"):
        write(tmp_path, 2, size=64)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_full_disk_is_one_error_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, image: np.ndarray) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(importlib.import_module("rsvl.data.synth.labels"), "write_jpeg", full)
    with pytest.raises(OutputError, match="No space left"):
        write(tmp_path / "set", 2, size=64)
    assert list(tmp_path.iterdir()) == []


def test_interrupt_leaves_nothing(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "set", 2, size=64, progress=stop)
    assert list(tmp_path.iterdir()) == []
