"""A package holds the best objects that fit its budget, and says how many it leaves out."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rsvl.runtime.watch.downlink import Answered, write_package

RNG = np.random.default_rng(3)


def scene(folder: Path, stem: str, scores: list[float], priority: float = 1.0, mask: int = 0) -> Answered:
    """A scene with objects of these scores: polygons of 30 corners around random places."""
    features = []
    for number, score in enumerate(scores, start=1):
        ring = RNG.uniform(-1e-3, 1e-3, (30, 2)) + RNG.uniform(-80, 80, 2)
        about = {"text": "a ship", "score": score, "area": 123.4567, "area_unit": "m2"}
        about["oriented_box"] = ring[:4].tolist()
        geometry = {"type": "Polygon", "coordinates": [[*ring.tolist(), ring[0].tolist()]]}
        features.append({"type": "Feature", "id": number, "properties": about, "geometry": geometry})
    outlines = folder / f"{stem}-outlines.geojson"
    outlines.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    files = [outlines]
    if mask:
        files.append(folder / f"{stem}-masks.tif")
        files[-1].write_bytes(bytes(mask))
    return Answered(stem, priority, files, {"name": f"{stem}.tif"})


def content(path: Path) -> dict[str, Any]:
    return json.loads(gzip.decompress(path.read_bytes()))


@pytest.mark.parametrize("budget", [400, 1000, 3000, 20_000])
def test_best_objects_that_fit_are_sent_and_the_others_counted(tmp_path: Path, budget: int) -> None:
    scores = RNG.permutation(np.linspace(0.01, 0.99, 40)).tolist()
    package = write_package(tmp_path, "a", [scene(tmp_path, "a", scores)], budget)
    (path,) = package.files
    found = content(path)
    sent = [each["properties"]["s"] for each in found["features"]]
    assert sent == pytest.approx(sorted(scores, reverse=True)[: len(sent)], abs=6e-4)
    assert package.objects == len(sent) and package.left_out == found["rsvl"]["left_out"] == 40 - len(sent)
    assert path.stat().st_size == package.size <= budget and (budget < 20_000 or len(sent) == 40)


def test_one_object_more_would_not_fit(tmp_path: Path) -> None:
    one = scene(tmp_path, "a", np.linspace(0.1, 0.9, 30).tolist())
    whole = write_package(tmp_path, "whole", [one], 100_000)
    less = write_package(tmp_path, "less", [one], whole.size - 1)
    assert (whole.objects, less.objects) == (30, 29)


def test_score_times_priority_ranks_the_objects_of_several_scenes(tmp_path: Path) -> None:
    scenes = [scene(tmp_path, "a", [0.9, 0.5]), scene(tmp_path, "b", [0.4, 0.2], priority=2.0)]
    found = content(write_package(tmp_path, "period", scenes, 10_000).files[0])
    ranked = [(each["properties"]["scene"], each["properties"]["s"]) for each in found["features"]]
    assert ranked == [("a", 0.9), ("b", 0.4), ("a", 0.5), ("b", 0.2)]
    assert [each["scene"] for each in found["rsvl"]["scenes"]] == ["a", "b"]


def test_outline_that_would_take_the_budget_is_sent_as_its_box(tmp_path: Path) -> None:
    (feature,) = content(write_package(tmp_path, "a", [scene(tmp_path, "a", [0.9])], 1000).files[0])["features"]
    (ring,) = feature["geometry"]["coordinates"]
    assert feature["properties"]["box"] and len(ring) == 5 and ring[0] == ring[-1]


def test_masks_take_what_the_objects_leave(tmp_path: Path) -> None:
    scenes = [scene(tmp_path, "a", [0.2], mask=500), scene(tmp_path, "b", [0.8], mask=700), scene(tmp_path, "c", [])]
    objects = write_package(tmp_path, "none", scenes, 2000 - 1).objects
    alone = write_package(tmp_path, "alone", scenes, 600).size
    package = write_package(tmp_path, "p", scenes, alone + 750)
    assert objects == 2 and [path.name for path in package.files] == ["p.geojson.gz", "p-b-masks.tif"]
    assert (package.masks, package.masks_left_out) == (1, 1) and package.size == alone + 700


def test_budget_below_the_summary_sends_nothing_and_says_so(tmp_path: Path) -> None:
    package = write_package(tmp_path, "a", [scene(tmp_path, "a", [0.9], mask=10)], 50)
    assert (package.files, package.size, package.objects, package.left_out) == ([], 0, 0, 1)
    assert not (tmp_path / "a.geojson.gz").exists() and package.masks_left_out == 1


def test_same_scenes_give_the_same_bytes(tmp_path: Path) -> None:
    one = scene(tmp_path, "a", [0.9, 0.3])
    first = write_package(tmp_path, "a", [one], 5000).files[0].read_bytes()
    assert write_package(tmp_path, "a", [one], 5000).files[0].read_bytes() == first
