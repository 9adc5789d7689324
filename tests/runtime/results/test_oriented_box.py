"""The least rectangle against OpenCV's minAreaRect, and by its own definition."""

import numpy as np
import pytest

from rsvl.runtime.results.oriented_box import convex_hull, oriented_box

cv2 = pytest.importorskip("cv2")


def rotated_rectangle(width: float, height: float, angle: float) -> np.ndarray:
    mask = np.zeros((200, 200), np.uint8)
    corners = cv2.boxPoints(((100, 100), (width, height), angle))
    return cv2.fillPoly(mask, [corners.round().astype(np.int32)], 1).astype(bool)


def pixel_corners(mask: np.ndarray) -> np.ndarray:
    y, x = np.nonzero(mask)
    return np.concatenate([np.stack([x + dx, y + dy], axis=1) for dx in (0, 1) for dy in (0, 1)]).astype(np.float32)


RNG = np.random.default_rng(5)
MASKS = [rotated_rectangle(90, 30, angle) for angle in range(-85, 90, 17)] + [
    RNG.random((12, 30)) < density for density in (0.02, 0.1, 0.5)
]
every_mask = pytest.mark.parametrize("mask", MASKS, ids=range(len(MASKS)))


@every_mask
def test_area_equals_opencvs(mask: np.ndarray) -> None:
    _, (width, height), _ = cv2.minAreaRect(pixel_corners(mask))
    found = oriented_box(mask)
    assert found.width * found.height == pytest.approx(width * height, rel=1e-4)


@every_mask
def test_box_holds_every_pixel_and_touches_on_all_sides(mask: np.ndarray) -> None:
    found = oriented_box(mask)
    radians = np.deg2rad(found.angle)
    along, across = np.array([np.cos(radians), np.sin(radians)]), np.array([-np.sin(radians), np.cos(radians)])
    offsets = pixel_corners(mask) - (found.cx, found.cy)
    for axis, length in ((along, found.width), (across, found.height)):
        reach = offsets @ axis
        assert reach.max() == pytest.approx(length / 2, abs=1e-3)
        assert reach.min() == pytest.approx(-length / 2, abs=1e-3)


@pytest.mark.parametrize("angle", [-80, -45, -10, 0, 30, 60, 89])
def test_angle_is_the_longer_sides_direction(angle: float) -> None:
    found = oriented_box(rotated_rectangle(120, 40, angle))
    assert -90 <= found.angle < 90 and found.width >= found.height
    assert abs((found.angle - angle + 90) % 180 - 90) < 2
    assert (found.cx, found.cy) == pytest.approx((100.5, 100.5), abs=1)


def test_upright_block_is_exact() -> None:
    mask = np.zeros((9, 20), bool)
    mask[2:5, 3:17] = True
    assert oriented_box(mask) == pytest.approx((10, 3.5, 14, 3, 0))


def test_corners_go_round_the_box() -> None:
    mask = rotated_rectangle(90, 30, 25)
    found = oriented_box(mask)
    again = cv2.minAreaRect(found.corners.astype(np.float32))
    assert again[0] == pytest.approx((found.cx, found.cy), abs=1e-3)
    assert sorted(again[1]) == pytest.approx([found.height, found.width], abs=1e-3)
    assert cv2.contourArea(found.corners.astype(np.float32), oriented=True) > 0


def test_empty_mask_has_no_box() -> None:
    assert oriented_box(np.zeros((5, 5), bool)) is None


@pytest.mark.parametrize("count", [3, 10, 500])
def test_hull_equals_scipys(count: int) -> None:
    spatial = pytest.importorskip("scipy.spatial")
    points = RNG.integers(0, 50, (count, 2))
    expected = points[spatial.ConvexHull(points).vertices]
    assert {tuple(p) for p in convex_hull(points).astype(int)} == {tuple(p) for p in expected}
