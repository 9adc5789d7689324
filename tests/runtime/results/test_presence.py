"""Found, absent and ambiguous: what a calibrated bundle says of a sentence, and which objects it gives."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

from rsvl.runtime.errors import BundleError
from rsvl.runtime.loading import load
from rsvl.runtime.manifest import Manifest, seal
from rsvl.runtime.presence import Presence, means_one
from rsvl.runtime.results.objects import ObjectFilter

# Of the toy's objects, all of probability near 1, the area alone decides: 40 pixels are even odds.
BY_AREA = Presence((-4 * math.log(40), 0.0, 0.0, 4.0), 0.03)


@pytest.fixture
def calibrated(bundle: Path) -> Path:
    manifest = Manifest.from_json((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(dataclasses.replace(manifest, presence=BY_AREA).to_json())
    return bundle


def image(*rectangles: tuple[int, int, int, int]) -> np.ndarray:
    pixels = np.full((32, 32, 3), 128, np.uint8)
    for y, x, h, w in rectangles:
        pixels[y : y + h, x : x + w] = (255, 0, 0)
    return pixels


@pytest.mark.parametrize(
    ("rectangles", "text", "status"),
    [
        ([(2, 2, 10, 10)], "the red square", "found"),
        ([(2, 2, 3, 3)], "the red square", "absent"),
        ([], "the red square", "absent"),
        ([(2, 2, 10, 10), (18, 18, 10, 10)], "the red square", "ambiguous"),
        ([(2, 2, 10, 10), (18, 18, 10, 10)], "red", "found"),
        ([(2, 2, 10, 10), (18, 18, 3, 3)], "the red square", "found"),
    ],
)
def test_sentence_is_found_absent_or_ambiguous(calibrated: Path, rectangles: list, text: str, status: str) -> None:
    found = load(calibrated, threads=1).segment(image(*rectangles), text, keep=ObjectFilter(min_presence=0.5))
    assert found.status == status and found.to_dict()["status"] == status
    large = [h * w for _, _, h, w in rectangles if h * w >= 40]
    assert [each.area for each in found.given] == large and len(found.parts) == len(large)
    areas = [h * w for _, _, h, w in rectangles]
    want = 1 / (1 + (40 / max(areas)) ** 4) if areas else 0.03
    assert found.presence == pytest.approx(want, rel=1e-6) and f"presence {want:.2f}" in found.lines()[0]


def test_bundle_that_nobody_calibrated_says_so(bundle: Path) -> None:
    found = load(bundle, threads=1).segment(image((2, 2, 9, 9)), "red")
    assert (found.status, found.presence) == ("uncalibrated", None) and "presence" not in found.lines()[0]


@pytest.mark.parametrize("change", [{"weights": [1, 2, 3]}, {"empty": 2}, {"weights": ["x"] * 4}, {"about": 3}])
def test_presence_that_is_none_is_refused(bundle: Path, change: dict) -> None:
    data = json.loads((bundle / "manifest.json").read_text())
    data["presence"] = {"weights": [0, 0, 0, 0], "empty": 0.5, "about": {}} | change
    with pytest.raises(BundleError, match="not a valid bundle manifest"):
        Manifest.from_json(json.dumps(seal(data)))


@pytest.mark.parametrize(
    ("text", "one"),
    [
        ("the red car on the left", True),
        ("the vehicles", False),
        ("all the cars", False),
        ("the bus near the houses", True),
        ("a ship", True),
        ("ship", False),
        ("", False),
        ("the tennis courts beside the road", False),
    ],
)
def test_sentence_means_one(text: str, one: bool) -> None:
    assert means_one(text) is one
