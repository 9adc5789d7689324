"""Outlines against OpenCV's components and GDAL's polygonizer, which share the 4-connectivity."""

import numpy as np
import pytest

from rsvl.runtime.results.contours import bounds, polygons

cv2 = pytest.importorskip("cv2")
features = pytest.importorskip("rasterio.features")

FIGURES = {
    "pixel": ["#"],
    "ring": ["###", "# #", "###"],
    "diagonal": ["# ", " #"],
    "anti-diagonal": [" #", "# "],
    "checkerboard": ["# # ", " # #", "# # ", " # #"],
    "hole with an island": ["#####", "#   #", "# # #", "#   #", "#####"],
    "ring in a ring": ["#######", "#     #", "# ### #", "# # # #", "# ### #", "#     #", "#######"],
    "hole that touches at a corner": ["####", "# ##", "## #", "####"],
    "holes beside each other": ["#####", "# # #", "#####"],
    "open at the side": ["###", "# ", "###"],
    "hole behind a bay": ["#######", "#  ####", "## #  #", "##    #", "#######"],
    "stair": ["#   ", "##  ", " ## ", "  ##"],
}


def figure(rows: list[str]) -> np.ndarray:
    width = max(map(len, rows))
    return np.array([[c == "#" for c in row.ljust(width)] for row in rows])


def noise(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.random((37, 53)) < rng.uniform(0.3, 0.7)


MASKS = {name: figure(rows) for name, rows in FIGURES.items()} | {f"noise {seed}": noise(seed) for seed in range(6)}
every_mask = pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())


def canonical(ring: list) -> tuple:
    """A ring as a set-comparable tuple: corners only, started at the least point, in one direction."""
    points = [(int(x), int(y)) for x, y in ring]
    start = points.index(min(points))
    return min(tuple(points[start:] + points[:start]), (points[start], *(points[start + 1 :] + points[:start])[::-1]))


@every_mask
def test_polygons_equal_gdals(mask: np.ndarray) -> None:
    shapes = features.shapes(mask.astype(np.uint8), mask, connectivity=4)
    expected = {
        (canonical(rings[0][:-1]), frozenset(canonical(ring[:-1]) for ring in rings[1:]))
        for rings in (shape["coordinates"] for shape, _ in shapes)
    }
    found = {(canonical(p.exterior), frozenset(canonical(hole) for hole in p.holes)) for p in polygons(mask)}
    assert found == expected


@every_mask
def test_boxes_and_areas_equal_opencvs_components(mask: np.ndarray) -> None:
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    expected = sorted((int(x), int(y), int(x + w), int(y + h), int(a)) for x, y, w, h, a in stats[1:])
    assert sorted((*p.box, p.area) for p in polygons(mask)) == expected


@every_mask
def test_polygons_rasterize_back_to_the_mask(mask: np.ndarray) -> None:
    shapes = [
        {"type": "Polygon", "coordinates": [[*ring.tolist(), ring[0].tolist()] for ring in (p.exterior, *p.holes)]}
        for p in polygons(mask)
    ]
    assert np.array_equal(features.rasterize(shapes, mask.shape).astype(bool), mask)


@every_mask
def test_largest_comes_first_and_rings_turn_opposite_ways(mask: np.ndarray) -> None:
    def turning(ring: np.ndarray) -> float:
        return cv2.contourArea(ring.astype(np.float32), oriented=True)

    found = polygons(mask)
    assert [p.area for p in found] == sorted((p.area for p in found), reverse=True)
    assert all(turning(p.exterior) > 0 for p in found)  # clockwise with y down
    assert all(turning(hole) < 0 for p in found for hole in p.holes)


def test_position_in_the_image_is_kept() -> None:
    mask = np.zeros((50, 60), bool)
    mask[20:25, 30:33] = True
    assert polygons(mask)[0].exterior.tolist() == [[30, 20], [33, 20], [33, 25], [30, 25]]


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (4, 7)])
def test_empty_mask_has_no_polygons_and_no_bounds(shape: tuple[int, int]) -> None:
    assert polygons(np.zeros(shape, bool)) == ()
    assert bounds(np.zeros(shape, bool)) is None
