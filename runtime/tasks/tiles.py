"""A scene shown to a model tile by tile."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np

from rsvl.runtime.images.preprocess import squared
from rsvl.runtime.images.scene import Scene
from rsvl.runtime.images.tiling import Grid, Tile, Window, plan_tiles, told_of_resolution
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


def plan_scene(scene: Scene, spec: ImageSpec, tile: Tile, overlap: float) -> Grid:
    """The tiles of a scene (`rsvl.runtime.images.tiling.plan_tiles`); a resolution far from the model's is told."""
    reading = getattr(scene, "reading", None)
    resolution = reading.resolution if reading is not None else None
    if reading is not None and (told := told_of_resolution(spec, resolution)) and told not in reading.notes:
        reading.add(told)
    return plan_tiles(scene.height, scene.width, spec, tile, overlap, resolution)


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
