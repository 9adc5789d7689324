"""Synthetic scenes in DIOR-RSVG's layout, read back by its loader, and in class folders."""

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from rsvl.data import ClassificationDataset, ReferringDataset, open_dataset
from rsvl.data.synth import COLOURS, Scene, generate, write
from rsvl.data.synth.settings import SETTINGS
from rsvl.runtime.errors import UsageError

_SEED, _SIZE, _SCENES = 9, 128, 8


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grounding") / "set"
    write(folder, _SCENES, _SEED, _SIZE, val=2, test=2, task="grounding", sensor="both")
    return folder


@pytest.fixture(scope="module")
def splits(root: Path) -> dict[str, ReferringDataset]:
    return {split: open_dataset("optsar-rsvg", root, split) for split in ("train", "val", "test")}


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    """The same scenes, generated again."""
    return [generate((_SEED, index), _SIZE, with_sar=True) for index in range(_SCENES)]


def _records(splits: dict[str, ReferringDataset]) -> list[tuple[int, object]]:
    return [(int(record.path.name[:6]), record) for found in splits.values() for record in found]


def test_each_scene_has_an_image_per_sensor_in_its_own_split(splits: dict[str, ReferringDataset]) -> None:
    found = {split: sorted((r.path.stem, r.sensor) for r in records) for split, records in splits.items()}
    for split, indices in {"train": range(4), "val": range(4, 6), "test": range(6, 8)}.items():
        both = [[(f"{i:06d}", "optical"), (f"{i:06d}_sar", "sar")] for i in indices]
        assert found[split] == [entry for pair in both for entry in pair]


def test_optical_sentences_and_boxes_are_the_scenes(splits: dict[str, ReferringDataset], scenes: list[Scene]) -> None:
    for index, record in _records(splits):
        if record.sensor == "optical":
            expected = [
                (e.text, None if e.target is None else scenes[index].objects[e.target].bbox)
                for e in scenes[index].expressions
            ]
            assert [(r.sentences[0], r.bbox) for r in record.referrings] == expected
            assert [r.no_target for r in record.referrings] == [box is None for _, box in expected]


def test_sar_sentences_speak_of_no_colour_and_box_an_object(
    splits: dict[str, ReferringDataset], scenes: list[Scene]
) -> None:
    words = {*COLOURS, "grey"}
    checked = 0
    for index, record in _records(splits):
        if record.sensor != "sar":
            continue
        boxes = {(o.category, o.bbox) for o in scenes[index].objects}
        for referring in record.referrings:
            assert not words & set(referring.sentences[0].split())
            if not referring.no_target:
                assert (referring.category, referring.bbox) in boxes
                checked += 1
    assert checked > 10


def test_boxes_are_the_masks_own(splits: dict[str, ReferringDataset], scenes: list[Scene]) -> None:
    for index, record in _records(splits):
        masks = {o.bbox: o.mask for o in scenes[index].objects}
        for referring in record.referrings:
            if referring.bbox is not None:
                rows, columns = np.nonzero(masks[referring.bbox])
                assert referring.bbox == (
                    columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1,
                )  # fmt: skip


def test_images_are_the_scenes_but_for_jpeg_loss(splits: dict[str, ReferringDataset], scenes: list[Scene]) -> None:
    for index, record in _records(splits):
        read = cv2.imread(str(record.path), cv2.IMREAD_UNCHANGED)
        wanted = scenes[index].image if record.sensor == "optical" else scenes[index].sar
        shown = read[..., ::-1] if read.ndim == 3 else read
        assert shown.shape == wanted.shape and np.abs(shown.astype(int) - wanted).mean() < 6


def test_numbers_cover_every_sentence_once(root: Path, splits: dict[str, ReferringDataset]) -> None:
    numbers = [int(line) for split in splits for line in (root / f"{split}.txt").read_text().split()]
    assert sorted(numbers) == list(range(sum(found.sentence_count for found in splits.values())))


@pytest.mark.parametrize("task", ["grounding", "classification"])
def test_number_of_workers_does_not_change_the_files(tmp_path: Path, task: str) -> None:
    digests = []
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        write(folder, 4, 1, 64, val=1, test=1, workers=workers, task=task, sensor="sar")
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        digests.append([(str(p.relative_to(folder)), hashlib.sha256(p.read_bytes()).hexdigest()) for p in files])
    assert digests[0] == digests[1] and len(digests[0]) >= 4


@pytest.mark.parametrize("sensor", ["optical", "sar"])
def test_classes_are_the_settings(tmp_path: Path, sensor: str) -> None:
    write(tmp_path / "set", 10, 4, 64, val=3, test=0, task="classification", sensor=sensor)
    train, val = (open_dataset("scenes", tmp_path / "set", split, ClassificationDataset) for split in ("train", "val"))
    labels = {int(image.path.stem): image.label for image in [*train, *val]}
    expected = {index: generate((4, index), 64).setting for index in range(10)}
    assert labels == expected and len(val) == 3
    assert set(train.classes) <= set(SETTINGS)
    assert not (tmp_path / "set" / "test").exists()


@pytest.mark.parametrize(
    ("task", "sensor", "message"),
    [
        ("classification", "both", "have no 'both' images: choose optical or sar"),
        ("referring-segmentation", "sar", "have no 'sar' images: choose optical or both"),
        ("captioning", None, "no synthetic labels for the task 'captioning'"),
    ],
)
def test_images_that_a_task_does_not_know_are_refused(
    tmp_path: Path, task: str, sensor: str | None, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        write(tmp_path / "set", 2, size=64, task=task, sensor=sensor)
    assert list(tmp_path.iterdir()) == []
