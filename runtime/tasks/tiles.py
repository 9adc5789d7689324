"""A scene shown to a model tile by tile."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np

from rsvl.runtime.errors import InputError, UsageError
from rsvl.runtime.images.preprocess import squared
from rsvl.runtime.images.scene import Scene
from rsvl.runtime.images.tiling import SMALLEST_TILE, Grid, Tile, Window, plan_scales, told_of_resolution
from rsvl.runtime.manifest import ImageSpec
from rsvl.runtime.progress import Progress


class TileView(NamedTuple):
    """What a model is shown of a scene at once.

    Attributes:
        row: of the grid.
        column: of the grid.
        window: where it lies in the scene.
        pixels: uint8 [H, W, 3]; None where the window holds no data: there is nothing to look at.
        inner: where the window's pixels lie in `pixels`, which are padded to a square for some models.
        valid: which pixels of the window hold data, bool [h, w]; None when all do.
    """

    row: int
    column: int
    window: Window
    pixels: np.ndarray | None
    inner: Window
    valid: np.ndarray | None


def plan_scene(
    scene: Scene, spec: ImageSpec, tile: Tile, overlap: float, scales: Sequence[float] = (1.0,)
) -> tuple[Grid, ...]:
    """The tiles of a scene (`rsvl.runtime.images.tiling.plan_scales`); a resolution far from the model's is told."""
    reading = getattr(scene, "reading", None)
    resolution = reading.resolution if reading is not None else None
    if reading is not None and (told := told_of_resolution(spec, resolution)) and told not in reading.notes:
        reading.add(told)
    return plan_scales(scene.height, scene.width, spec, tile, overlap, resolution, scales)


def scales_of_resolutions(scene: Scene, spec: ImageSpec, resolutions: Sequence[float]) -> tuple[int, tuple[float, ...]]:
    """The tile and the scales at which a scene is shown as if it had been taken at some ground resolutions.

    Args:
        scene: the scene.
        spec: the model's image input.
        resolutions: metres per pixel.

    Returns:
        The tile's side in pixels of the scene, and scales to be taken with it.

    Raises:
        InputError: the scene's own resolution is not known.
        UsageError: a resolution that is no length.
    """
    place = scene.georeference
    own = None if place is None else place.resolution(scene.height, scene.width)
    if own is None:
        raise InputError("the image's resolution is not known: give scales instead of ground resolutions")
    if not resolutions or any(not 0 < each < math.inf for each in resolutions):
        raise UsageError(f"ground resolutions are metres per pixel, not {list(resolutions)}")
    side = spec.trained_side or spec.size
    tile = max(SMALLEST_TILE, round(side * resolutions[0] / own))
    return tile, tuple(tile * own / (side * each) for each in resolutions)


def tiles_of(scene: Scene, grid: Grid, spec: ImageSpec, tile: Tile, progress: Progress) -> Iterator[TileView]:
    """Every tile of a grid, row by row. Where none of them holds data, the scene's reading says so at the end.

    Args:
        scene: the scene.
        grid: its tiles.
        spec: the model's image input.
        tile: what `plan_scene` was given: "whole" resizes the scene as training does, whatever its proportions.
        progress: called with (tiles done, tiles in all) after every tile.
    """
    looked_at = 0
    for done, (row, column) in enumerate(grid, start=1):
        window = grid.window(row, column)
        valid = scene.valid(window)
        inner = Window(0, 0, window.height, window.width)
        if valid is not None and not valid.any():
            yield TileView(row, column, window, None, inner, valid)
        else:
            looked_at += 1
            pixels = scene.read(window)
            if spec.keep_aspect and tile != "whole":
                pixels, inner = squared(pixels, spec)
            yield TileView(row, column, window, pixels, inner, valid)
        progress(done, len(grid))
    reading = getattr(scene, "reading", None)
    if reading is not None and not looked_at:
        reading.tell_void()


def batches(tiles: Iterable[TileView], size: int) -> Iterator[list[TileView]]:
    """Tiles in lists of at most `size` of those that hold data, and what void ones lie between them."""
    left = iter(tiles)
    while some := list(islice(left, 1)):
        while sum(tile.pixels is not None for tile in some) < size and (more := list(islice(left, 1))):
            some += more
        yield some
