"""`rsvl calibrate` and `rsvl run --presence`: what is written into the bundle, what it changes, what is refused."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rsvl.metrics.presence import PresenceSample, fit_presence
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.manifest import GROUNDING, Manifest
from rsvl.runtime.presence import Presence
from tests.support.outcome import Rsvl
from tests.support.toy_tasks import write_task_bundle


@pytest.fixture
def own(bundle: Path, tmp_path: Path) -> Path:
    """A bundle of the test's own."""
    return Path(shutil.copytree(bundle, tmp_path / "own.bundle"))


@pytest.fixture
def image_file(tmp_path: Path) -> Path:
    """Gray, with red squares of 81 and 9 pixels."""
    pixels = np.full((32, 32, 3), 128, np.uint8)
    pixels[2:11, 2:11], pixels[20:23, 20:23] = (255, 0, 0), (255, 0, 0)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    return tmp_path / "image.png"


def test_presence_is_written_into_the_bundle(
    rsvl: Rsvl, own: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    samples = [
        PresenceSample(bool(i % 2), (float(rng.uniform(0.3, 0.6)) + 0.3 * (i % 2), 0.95, float(i % 7 + 1)), i)
        for i in range(80)
    ]
    monkeypatch.setattr("rsvl.tasks.segmentation.presence.presence_samples", lambda *rest: samples)
    found = rsvl("calibrate", own, "--data", "rrsis-d", "--root", dataset, "--json").json
    assert (found["sentences"], found["absent"]) == (80, 40) and found["false_alarms"] == 1
    assert found["false_alarms_at_half"] < 0.3 and sum(found["curve"]["sentences"]) == 80
    read = Bundle(own).manifest.presence
    assert read is not None and read.weights == pytest.approx(fit_presence(samples).weights)
    assert read.about["data"] == "rrsis-d"


def test_too_few_sentences_leave_the_bundle_as_it_is(rsvl: Rsvl, own: Path, dataset: Path) -> None:
    before = (own / "manifest.json").read_bytes()
    outcome = rsvl("calibrate", own, "--data", "rrsis-d", "--root", dataset)
    assert outcome.code == 2 and "at least 20 of each" in outcome.error
    assert (own / "manifest.json").read_bytes() == before


def test_only_masks_are_calibrated(rsvl: Rsvl, tmp_path: Path, dataset: Path) -> None:
    grounder = write_task_bundle(tmp_path / "grounder.bundle", GROUNDING)
    outcome = rsvl("calibrate", grounder, "--data", "rrsis-d", "--root", dataset)
    assert outcome.code == 2 and "gives boxes" in outcome.error


def test_run_gives_the_objects_that_are_there(rsvl: Rsvl, own: Path, image_file: Path, tmp_path: Path) -> None:
    command = ("run", own, image_file, "-t", "red", "--presence", "0.5", "-o", tmp_path / "o")
    outcome = rsvl(*command)
    assert outcome.code == 2 and "rsvl calibrate" in outcome.error and not (tmp_path / "o").exists()
    manifest = Manifest.from_json((own / "manifest.json").read_text())
    by_area = Presence((-4 * float(np.log(40)), 0.0, 0.0, 4.0), 0.03)  # 40 pixels are even odds
    (own / "manifest.json").write_text(dataclasses.replace(manifest, presence=by_area).to_json())
    (found,) = rsvl(*command, "--json").json["images"][0]["found"]
    assert [each["area"] for each in found["objects"]] == [81] and found["dropped"] == 1
    assert found["objects"][0]["presence"] == pytest.approx(1 / (1 + (40 / 81) ** 4)) == found["presence"]
