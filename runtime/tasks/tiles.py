"""A scene shown to a model tile by tile."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from rsvl.runtime.images.notes import NO_DATA
from rsvl.runtime.images.scene import Scene
from rsvl.runtime.images.tiling import Grid, Window
from rsvl.runtime.progress import Progress


class TileView(NamedTuple):
    """What a model is shown of a scene at once.

    Attributes:
        row: of the grid.
        column: of the grid.
        window: where it lies in the scene.
        pixels: uint8 [h, w, 3]; None where the window holds no data: there is nothing to look at.
        valid: which pixels hold data, bool [h, w]; None when all do.
    """

    row: int
    column: int
    window: Window
    pixels: np.ndarray | None
    valid: np.ndarray | None


def tiles_of(scene: Scene, grid: Grid, progress: Progress) -> Iterator[TileView]:
    """Every tile of a grid, row by row. Where none of them holds data, the scene's reading says so at the end.

    Args:
        scene: the scene.
        grid: its tiles.
        progress: called with (tiles done, tiles in all) after every tile.
    """
    looked_at = 0
    for done, (row, column) in enumerate(grid, start=1):
        window = grid.window(row, column)
        valid = scene.valid(window)
        is_void = valid is not None and not valid.any()
        looked_at += not is_void
        yield TileView(row, column, window, None if is_void else scene.read(window), valid)
        progress(done, len(grid))
    reading = getattr(scene, "reading", None)
    if reading is not None and not looked_at:
        reading.is_void = True
        if NO_DATA not in reading.notes:
            reading.add(NO_DATA)
