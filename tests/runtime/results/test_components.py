"""Components, against SciPy's labels, and polygons joined from pieces, against those of the whole mask."""

from __future__ import annotations

import numpy as np
import pytest

from rsvl.runtime.results.components import components
from rsvl.runtime.results.contours import joined, polygons

RNG = np.random.default_rng(0)
MASKS = {
    "nothing": np.zeros((5, 7), bool),
    "everything": np.ones((4, 3), bool),
    "noise": RNG.random((60, 71)) < 0.5,
    "dense noise": RNG.random((40, 90)) < 0.65,
    "a comb": np.tile(np.arange(40) % 2 == 0, (30, 1)) | (np.arange(30) == 29)[:, None],
    "a spiral": np.kron(
        np.array([[1, 1, 1, 1], [0, 0, 0, 1], [1, 1, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1]]), np.ones((3, 2))
    )
    > 0,
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_components_are_scipy_s(mask: np.ndarray) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    labels, count = ndimage.label(mask)
    values = RNG.integers(0, 65536, mask.shape).astype(np.uint16)
    found = components(mask)
    rows, columns = np.nonzero(mask)
    assert found.count == count
    assert np.array_equal(found.at(rows, columns) + 1, labels[mask])  # both are numbered by their first pixels
    wanted = np.arange(1, count + 1)
    sizes, sums, largest = found.totals(values[mask])
    assert np.array_equal(sizes, np.bincount(labels[mask], minlength=count + 1)[1:])
    assert np.array_equal(sums, ndimage.sum_labels(values.astype(np.int64), labels, wanted))
    assert np.array_equal(largest, ndimage.maximum(values, labels, wanted)) or not count
    assert np.array_equal(found.along_row(mask.shape[0] - 1, mask.shape[1]) + 1, labels[-1])
    assert np.array_equal(found.along_column(1, mask.shape[0]) + 1, labels[:, 1])


@pytest.mark.parametrize("mask", [MASKS["noise"], MASKS["dense noise"], MASKS["a comb"], MASKS["a spiral"]])
def test_polygon_of_pieces_is_that_of_the_whole(mask: np.ndarray) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    labels, count = ndimage.label(mask)
    whole = {polygon.first_pixel: polygon for polygon in polygons(mask)}
    assert len(whole) == count
    for label in range(1, count + 1):
        one = labels == label
        pieces = [
            polygon.moved(x, y)
            for y in range(0, mask.shape[0], 7)
            for x in range(0, mask.shape[1], 9)
            for polygon in polygons(one[y : y + 7, x : x + 9])
        ]
        found = joined(pieces)
        expected = whole[found.first_pixel]
        assert found.area == expected.area == one.sum() and len(found.holes) == len(expected.holes)
        assert ring(found.exterior) == ring(expected.exterior)
        assert sorted(map(ring, found.holes)) == sorted(map(ring, expected.holes))


def ring(corners: np.ndarray) -> tuple:
    """A ring's corners, whichever comes first."""
    first = np.lexsort((corners[:, 0], corners[:, 1]))[0]
    return tuple(map(tuple, np.roll(corners, -first, axis=0).tolist()))
