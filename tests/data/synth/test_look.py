"""Optical images with the tones, haze and detail of photographs."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from rsvl.data import open_dataset
from rsvl.data.synth import generate, write
from rsvl.data.synth.look import photographed
from rsvl.runtime.errors import UsageError


def test_a_look_changes_the_images_and_nothing_else(tmp_path: Path) -> None:
    sets = {}
    for look in ("drawn", "photo"):
        write(tmp_path / look, 4, 5, 64, val=0, test=0, task="grounding", sensor="both", look=look)
        sets[look] = open_dataset("optsar-rsvg", tmp_path / look, "train")
    for drawn, photo in zip(*sets.values(), strict=True):
        assert drawn.path.name == photo.path.name and drawn.referrings == photo.referrings
        same = np.array_equal(cv2.imread(str(drawn.path)), cv2.imread(str(photo.path)))
        assert same == (drawn.sensor == "sar")


def test_photographs_have_more_contrast_and_detail() -> None:
    scenes = [generate((3, k), 128, with_sentences=False).image for k in range(12)]
    seen = [photographed(np.random.default_rng(k), image)[0] for k, image in enumerate(scenes)]

    def deviation(images: list[np.ndarray]) -> float:
        return float(np.mean([image.mean(axis=2).std() for image in images]))

    def detail(images: list[np.ndarray]) -> float:
        grey = [image.mean(axis=2) for image in images]
        return float(np.mean([(each - cv2.GaussianBlur(each, (0, 0), 1.0)).std() for each in grey]))

    assert deviation(seen) > 1.2 * deviation(scenes)
    assert detail(seen) > 1.2 * detail(scenes)


def test_an_unknown_look_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="do not look 'painted': choose drawn or photo"):
        write(tmp_path / "set", 2, look="painted")
    assert not (tmp_path / "set").exists()
