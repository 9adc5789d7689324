"""How a scene larger than the model is cut into overlapping tiles, and how their results become one again.

Every tile has a weight that rises smoothly (as a squared sine) over the overlap. The weights of each axis are
normalised so that over all tiles they sum to 1 at every pixel; a tile's weight is the product of its row weight and
its column weight, so the sum over tiles of weight × probability is the blended probability, with nothing to divide by
afterwards, and a row is final as soon as the last tile that touches it is done.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from rsvl.runtime.errors import UsageError
from rsvl.runtime.manifest import ImageSpec

SMALLEST_TILE = 16
#: The most that a scene is enlarged or shrunk.
LARGEST_SCALE = 64
#: How much smaller and larger than learned a tile may be to fit the scene's resolution.
_LEAST_FACTOR, _LARGEST_FACTOR = 0.5, 16.0
#: A resolution so many times finer or coarser than what a model has learned is told.
_FAR = 4.0

Tile: TypeAlias = Literal["auto", "whole"] | int


class Window(NamedTuple):
    """A rectangle of pixels."""

    row: int
    column: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """The rows and columns, to index an array with."""
        return slice(self.row, self.row + self.height), slice(self.column, self.column + self.width)

    @property
    def corners(self) -> tuple[int, int, int, int]:
        """Its bounds (x1, y1, x2, y2)."""
        return self.column, self.row, self.column + self.width, self.row + self.height


@dataclass(frozen=True)
class Axis:
    """One axis of `length` pixels covered by tiles of `tile` pixels that overlap by at least `overlap`."""

    length: int
    tile: int
    overlap: int

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Each tile's first pixel, evenly spread so that the last tile ends at the axis' end."""
        if self.length <= self.tile:
            return (0,)
        count = math.ceil((self.length - self.overlap) / (self.tile - self.overlap))
        return tuple(int(s) for s in np.linspace(0, self.length - self.tile, count).round())

    @property
    def extent(self) -> int:
        """A tile's size along this axis: shorter than `tile` only where the whole axis is."""
        return min(self.tile, self.length)

    @cached_property
    def weights(self) -> np.ndarray:
        """float32 [tiles, extent]: each tile's weight along the axis; they sum to 1 at every pixel."""
        edge = np.minimum(np.arange(self.extent), np.arange(self.extent)[::-1]) + 0.5  # distance to the nearer edge
        ramp = np.sin(np.minimum(edge / max(self.overlap, 1), 1.0) * (np.pi / 2)) ** 2
        total = np.zeros(self.length)
        for start in self.starts:
            total[start : start + self.extent] += ramp
        return np.stack([ramp / total[s : s + self.extent] for s in self.starts]).astype(np.float32)


@dataclass(frozen=True)
class Grid:
    """The tiles of a scene: `rows` × `columns` of them."""

    rows: Axis
    columns: Axis

    @classmethod
    def over(cls, height: int, width: int, tile: int, overlap: int) -> Grid:
        """The grid of `tile`×`tile` windows over a scene of height × width, overlapping by at least `overlap`."""
        return cls(Axis(height, tile, overlap), Axis(width, tile, overlap))

    @property
    def size(self) -> tuple[int, int]:
        """The scene's height and width."""
        return self.rows.length, self.columns.length

    def __len__(self) -> int:
        return len(self.rows.starts) * len(self.columns.starts)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """(row, column) of every tile, row by row."""
        return product(range(len(self.rows.starts)), range(len(self.columns.starts)))

    def window(self, row: int, column: int) -> Window:
        """The window of the tile in that row and column of the grid."""
        return Window(self.rows.starts[row], self.columns.starts[column], self.rows.extent, self.columns.extent)

    def weight(self, row: int, column: int) -> np.ndarray:
        """float32 [h, w]: the weight of the tile in that row and column of the grid."""
        return np.outer(self.rows.weights[row], self.columns.weights[column])

    def ends_row(self, column: int) -> bool:
        """Whether the tile in that column is the last of its row."""
        return column == len(self.columns.starts) - 1

    def final_rows(self, row: int) -> int:
        """Up to which row of the scene nothing changes any more once this row of tiles is done."""
        following = self.rows.starts[row + 1 : row + 2]
        return following[0] if following else self.rows.length


def plan_tiles(
    height: int, width: int, spec: ImageSpec, tile: Tile, overlap: float, resolution: float | None = None
) -> Grid:
    """The windows in which a model is shown a scene.

    Args:
        height: the scene's rows.
        width: its columns.
        spec: the model's image input.
        tile: "whole" is one window; a number cuts the scene into tiles of that many pixels; "auto" cuts it into tiles
            of `usual_side`, and is one window where the scene is no larger.
        overlap: the least overlap of neighbouring tiles, as a part of the tile, 0 to 0.5.
        resolution: the scene's ground resolution in metres per pixel, where it is known.

    Raises:
        UsageError: a tile or overlap out of range.
    """
    check_range("overlap", overlap, 0, 0.5)
    longer = max(height, width)
    if tile == "auto":
        tile = usual_side(spec, resolution)
        if longer <= tile:
            tile = "whole"
    if tile == "whole":
        return Grid.over(height, width, longer, 0)
    if not isinstance(tile, int) or tile < SMALLEST_TILE:
        raise UsageError(f"tile must be 'auto', 'whole' or pixels from {SMALLEST_TILE} on, not {tile!r}")
    return Grid.over(height, width, tile, round(overlap * tile))


def plan_scales(
    height: int,
    width: int,
    spec: ImageSpec,
    tile: Tile,
    overlap: float,
    resolution: float | None = None,
    scales: Sequence[float] = (1.0,),
) -> tuple[Grid, ...]:
    """The windows of `plan_tiles` at several scales: at 0.5 a tile covers twice as much, and is shown as small.

    Args:
        height: the scene's rows.
        width: its columns.
        spec: the model's image input.
        tile: see `plan_tiles`; at a scale other than 1 no ``whole``.
        overlap: see there.
        resolution: see there.
        scales: each from 1/64 to 64; those that show the same are one.

    Raises:
        UsageError: one of them out of range, or none.
    """
    if not scales or any(not 1 / LARGEST_SCALE <= scale <= LARGEST_SCALE for scale in scales):
        raise UsageError(f"scales are numbers from 1/{LARGEST_SCALE} to {LARGEST_SCALE}, not {list(scales)}")
    if set(scales) == {1.0}:
        return (plan_tiles(height, width, spec, tile, overlap, resolution),)
    if tile == "whole":
        raise UsageError("a scene that is shown whole has one scale: choose another tile than whole")
    side = usual_side(spec, resolution) if tile == "auto" else tile
    sides = [max(SMALLEST_TILE, round(side / scale)) for scale in scales]
    shown = [min(each, max(height, width)) for each in sides]
    return tuple(plan_tiles(height, width, spec, each, overlap) for each in dict.fromkeys(shown))


def usual_side(spec: ImageSpec, resolution: float | None = None) -> int:
    """The side of the tiles in which a model sees objects in the size that it has learned, in pixels of the scene.

    Where the scene's resolution and the model's are known, a tile covers as much ground as the model has learned to see
    at once: of a finer scene it has more pixels, of a coarser one fewer, down to half. One that is coarser still is not
    enlarged: what is not in its pixels cannot be seen.

    Args:
        spec: the model's image input.
        resolution: the scene's ground resolution in metres per pixel.
    """
    side = max(SMALLEST_TILE, spec.trained_side or spec.size)
    if resolution is None or not spec.trained_resolution:
        return side
    low, high = spec.trained_resolution
    factor = min(max(resolution, low), high) / resolution
    if factor < _LEAST_FACTOR:
        return side
    return max(SMALLEST_TILE, round(side * min(factor, _LARGEST_FACTOR)))


def told_of_resolution(spec: ImageSpec, resolution: float | None) -> str:
    """What is said of a resolution far from what a model has learned; empty for any other."""
    if resolution is None or not spec.trained_resolution:
        return ""
    low, high = spec.trained_resolution
    if low / _FAR <= resolution <= high * _FAR:
        return ""
    return f"{resolution:.3g} m per pixel: the model has learned {low:g}…{high:g} m, its answers mean little here"


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Refuses an option out of its range.

    Raises:
        UsageError: it is (also when it is not a number).
    """
    if not low <= value <= high:
        raise UsageError(f"{name} must be between {low} and {high}, not {value}")
