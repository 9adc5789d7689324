"""Tiles cover a scene, overlap as asked, and their weights sum to one at every pixel."""

import numpy as np
import pytest

from rsvl.runtime.images.tiling import Axis, Grid, Window

CASES = [
    (100, 32, 8),
    (101, 32, 0),
    (32, 32, 8),
    (20, 32, 8),
    (33, 32, 16),
    (1, 32, 8),
    (10_000, 480, 120),
]


@pytest.mark.parametrize(("length", "tile", "overlap"), CASES)
def test_tiles_cover_the_axis_and_overlap_enough(length: int, tile: int, overlap: int) -> None:
    axis = Axis(length, tile, overlap)
    starts = np.array(axis.starts)
    assert starts[0] == 0 and starts[-1] + axis.extent == length
    assert (np.diff(starts) <= tile - overlap).all() and (np.diff(starts) > 0).all()


@pytest.mark.parametrize(("length", "tile", "overlap"), CASES)
def test_there_is_no_tile_too_many(length: int, tile: int, overlap: int) -> None:
    count = len(Axis(length, tile, overlap).starts)
    reach_with_one_less = tile + (count - 2) * (tile - overlap)
    assert count == 1 or reach_with_one_less < length


@pytest.mark.parametrize(("length", "tile", "overlap"), CASES)
def test_weights_sum_to_one_and_are_positive(length: int, tile: int, overlap: int) -> None:
    axis = Axis(length, tile, overlap)
    total = np.zeros(length)
    for start, weight in zip(axis.starts, axis.weights, strict=True):
        total[start : start + axis.extent] += weight
    np.testing.assert_allclose(total, 1, atol=1e-6)
    assert axis.weights.min() > 0


def test_weight_falls_smoothly_to_the_neighbour() -> None:
    axis = Axis(100, 40, 10)
    inner = axis.weights[1]
    assert inner[20] == 1
    assert (np.diff(inner[:10]) > 0).all() and np.abs(np.diff(inner)).max() < 0.2
    assert inner[0] < 0.02


def test_grid_weights_sum_to_one_over_the_scene() -> None:
    grid = Grid.over(70, 45, 32, 8)
    total = np.zeros((70, 45))
    for row, column in grid:
        total[grid.window(row, column).slices] += grid.weight(row, column)
    np.testing.assert_allclose(total, 1, atol=1e-6)
    assert len(list(grid)) == len(grid) == 6


def test_final_rows_are_those_that_no_later_tile_touches() -> None:
    grid = Grid.over(100, 32, 32, 8)
    for row in range(4):
        later = [grid.window(r, 0).row for r in range(row + 1, 4)]
        assert grid.final_rows(row) == min(later, default=100)


def test_window_slices_select_its_pixels() -> None:
    values = np.arange(30).reshape(5, 6)
    assert np.array_equal(values[Window(1, 2, 3, 2).slices], values[1:4, 2:4])
