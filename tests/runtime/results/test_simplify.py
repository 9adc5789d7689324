"""Simplified outlines: fewer corners, none far away, and polygons as valid as before."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rsvl.runtime.loading import load
from rsvl.runtime.results.contours import Polygon, polygons
from rsvl.runtime.results.objects import ObjectFilter
from rsvl.runtime.results.simplify import simplified
from tests.support.installed import needs

pytestmark = needs("shapely")


def blobs(seed: int) -> np.ndarray:
    """A mask of overlapping discs with noise: components with holes, holes that touch the outside at corners."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:90, :110]
    mask = np.zeros(y.shape, bool)
    for cy, cx, r in rng.uniform((0, 0, 4), (90, 110, 22), (9, 3)):
        mask ^= (y - cy) ** 2 + (x - cx) ** 2 < r**2
    return mask ^ (rng.random(mask.shape) < 0.04)


def signed_area(ring: np.ndarray) -> float:
    x, y = ring.astype(np.float64).T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def distance(points: np.ndarray, ring: np.ndarray) -> float:
    """The largest distance of points from a closed ring."""
    a, b = ring.astype(np.float64), np.roll(ring, -1, axis=0).astype(np.float64)
    along = b - a
    share = ((points[:, None] - a) * along).sum(-1) / np.maximum((along**2).sum(-1), 1e-12)
    nearest = a + np.clip(share, 0, 1)[..., None] * along
    return float(np.sqrt(((points[:, None] - nearest) ** 2).sum(-1)).min(axis=1).max())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("tolerance", [0.8, 2.0, 9.0])
def test_simplified_polygons_are_valid_and_near(seed: int, tolerance: float) -> None:
    import shapely

    corners = fewer = 0
    for polygon in polygons(blobs(seed)):
        found = simplified(polygon, tolerance)
        assert shapely.Polygon(found.exterior, found.holes).is_valid and found.area == polygon.area
        assert len(found.holes) == len(polygon.holes)
        assert signed_area(found.exterior) > 0 and all(signed_area(hole) < 0 for hole in found.holes)
        for ring, exact in zip((found.exterior, *found.holes), (polygon.exterior, *polygon.holes), strict=True):
            assert distance(exact.astype(np.float64), ring) <= 2 * tolerance
        corners, fewer = corners + len(polygon.exterior), fewer + len(found.exterior)
    assert fewer < corners


def test_no_tolerance_leaves_an_outline_as_it_is() -> None:
    square = Polygon(np.array([[0, 0], [2, 0], [2, 2], [0, 2]]), (), 4)
    assert simplified(square, 0) is square


def test_written_outlines_are_simplified_and_areas_are_not(whole_bundle: Path, tmp_path: Path) -> None:
    image = np.full((64, 64, 3), 128, np.uint8)
    image[blobs(1)[:64, :64]] = (255, 0, 0)
    segmenter, written = load(whole_bundle, threads=1), {}
    for tolerance in (0.0, 1.5):
        found = segmenter.segment(image, "red", tile=32, keep=ObjectFilter(tolerance=tolerance))
        found.save(tmp_path / "found.json")
        written[tolerance] = json.loads((tmp_path / "found.json").read_text())["objects"]
    exact, simple = written[0.0], written[1.5]
    assert [each["area"] for each in exact] == [each["area"] for each in simple]
    fewer, corners = (sum(len(ring) for each in objects for ring in each["polygons"][0]) for objects in (simple, exact))
    assert fewer < corners
