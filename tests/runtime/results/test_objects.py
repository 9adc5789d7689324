"""Objects of a mask that comes in windows are those of the whole mask, by SciPy's labels."""

from __future__ import annotations

import numpy as np
import pytest

from rsvl.runtime.images.tiling import Window
from rsvl.runtime.results.objects import MaskObject, ObjectCollector, ObjectFilter, objects_of
from rsvl.runtime.results.oriented_box import oriented_box

RNG = np.random.default_rng(1)
SHAPE = (90, 110)
SMOOTH = RNG.normal(size=(12, 14)).repeat(8, axis=0).repeat(8, axis=1)[: SHAPE[0], : SHAPE[1]]
MASKS = {
    "blobs": SMOOTH + RNG.normal(size=SHAPE) * 0.3 > 0.2,
    "noise": RNG.random(SHAPE) < 0.55,
    "a frame": np.pad(np.zeros((70, 90), bool), 10, constant_values=True),
    "nothing": np.zeros(SHAPE, bool),
}


def collected(mask: np.ndarray, values: np.ndarray, side: tuple[int, int]) -> ObjectCollector:
    collector = ObjectCollector(*mask.shape)
    for y in range(0, mask.shape[0], side[0]):
        for x in range(0, mask.shape[1], side[1]):
            cut = slice(y, y + side[0]), slice(x, x + side[1])
            collector.add(Window(y, x, *mask[cut].shape), mask[cut], values[cut][mask[cut]])
    return collector


@pytest.mark.parametrize("side", [(90, 110), (32, 32), (90, 16), (17, 110), (7, 9)])
@pytest.mark.parametrize("name", MASKS)
def test_objects_in_windows_are_those_of_the_whole(name: str, side: tuple[int, int]) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    mask, values = MASKS[name], RNG.integers(30000, 65536, SHAPE).astype(np.uint16)
    collector = collected(mask, values, side)
    objects = collector.finish()
    labels, count = ndimage.label(mask)
    assert len(objects) == count and collector.area == mask.sum()
    assert [each.area for each in objects] == sorted((each.area for each in objects), reverse=True)
    for each in objects:
        label = labels[each.polygon.first_pixel]
        inside = values[labels == label]
        assert each.area == inside.size and each.score == pytest.approx(inside.mean() / 65535)
        assert each.peak == inside.max() / 65535
        rows, columns = ndimage.find_objects(labels)[label - 1]
        assert each.polygon.box == (columns.start, rows.start, columns.stop, rows.stop)
    expected = oriented_box(mask)
    assert (collector.oriented_box is None) == (expected is None)
    if expected is not None:
        assert collector.oriented_box.width * collector.oriented_box.height == pytest.approx(
            expected.width * expected.height
        )
        assert collector.score == pytest.approx(values[mask].mean() / 65535)
        columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
        assert collector.box == (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)


def test_filter_keeps_the_best_in_their_order() -> None:
    mask = np.zeros((10, 20), bool)
    mask[0:4, 0:4], mask[0:3, 6:9], mask[0:2, 12:14], mask[6, 0] = True, True, True, True
    values = np.zeros(mask.shape, np.uint16)
    values[:, :6], values[:, 6:12], values[:, 12:] = 40000, 60000, 50000
    objects = objects_of(mask, values[mask])
    areas = {
        ObjectFilter(): [16, 9, 4, 1],
        ObjectFilter(min_area=4): [16, 9, 4],
        ObjectFilter(min_score=0.7): [9, 4],
        ObjectFilter(limit=2): [9, 4],
        ObjectFilter(limit=3, min_area=2): [16, 9, 4],
    }
    assert {each: [one.area for one in each.apply(objects)] for each in areas} == areas


def test_object_has_its_own_oriented_box() -> None:
    (found,) = objects_of(np.pad(np.ones((3, 8), bool), 4), np.full(24, 65535, np.uint16))
    assert isinstance(found, MaskObject) and found.oriented_box == pytest.approx((8, 5.5, 8, 3, 0))
    assert (found.score, found.peak) == (1.0, 1.0)
