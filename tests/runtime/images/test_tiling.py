"""Tiles cover a scene, overlap as asked, and their weights sum to one at every pixel."""

import numpy as np
import pytest

from rsvl.runtime.images.tiling import Axis, Grid, Window, plan_tiles, told_of_resolution, usual_side
from rsvl.runtime.manifest import ImageSpec

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


SPEC = ImageSpec(256, (0.5,) * 3, (0.5,) * 3)
LEARNED = ImageSpec(480, (0.5,) * 3, (0.5,) * 3, trained_side=800, trained_resolution=(0.5, 2.0))


@pytest.mark.parametrize(
    ("height", "width", "spec", "tiles", "side"),
    [
        (256, 256, SPEC, 1, 256),
        (100, 200, SPEC, 1, 200),
        (257, 256, SPEC, 2, 256),
        (256, 640, SPEC, 3, 256),
        (256, 641, SPEC, 4, 256),
        (512, 512, SPEC, 9, 256),
        (800, 800, LEARNED, 1, 800),
        (801, 400, LEARNED, 2, 800),
    ],
)
def test_scene_larger_than_what_was_learned_is_cut_into_tiles_of_it(
    height: int, width: int, spec: ImageSpec, tiles: int, side: int
) -> None:
    grid = plan_tiles(height, width, spec, "auto", 0.25)
    assert len(grid) == tiles
    assert max(grid.window(0, 0)[2:]) == side


@pytest.mark.parametrize(
    ("resolution", "side"),
    [
        (None, 800),
        (0.5, 800),
        (1.0, 800),
        (2.0, 800),
        (0.25, 1600),
        (0.1, 4000),
        (4.0, 400),
        (300.0, 800),
        (0.001, 12800),
    ],
)
def test_tile_covers_the_ground_that_was_learned(resolution: float | None, side: int) -> None:
    assert usual_side(LEARNED, resolution) == side
    assert usual_side(SPEC, resolution) == 256  # nothing is known of what it has learned


@pytest.mark.parametrize(("resolution", "told"), [(None, False), (8.0, False), (300.0, True), (0.05, True)])
def test_resolution_far_from_what_was_learned_is_told(resolution: float | None, told: bool) -> None:
    assert bool(told_of_resolution(LEARNED, resolution)) == told
    assert not told_of_resolution(SPEC, resolution)
