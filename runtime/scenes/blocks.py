"""A scene's tiles in blocks: each is run alone, and only what it shares with its neighbours has to be added up."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from rsvl.runtime.images.tiling import Axis, Grid, Window

#: The most pixels of a block, and pixels times sentences: so many floats are kept at once.
PIXELS, SUMS = 1 << 22, 1 << 25
#: The most tiles along a block's side: so many are lost when a run is killed.
TILES = 8


class Span(NamedTuple):
    """A block along one axis.

    Attributes:
        tiles: which tiles of the axis it has.
        start: its first pixel.
        end: the pixel after its last.
        own_start: the first pixel that no other block touches.
        own_end: the pixel after the last such; `own_start` where there is none.
    """

    tiles: range
    start: int
    end: int
    own_start: int
    own_end: int


@dataclass(frozen=True)
class Blocks:
    """The blocks of a grid, row by row.

    Attributes:
        grid: the scene's tiles.
        rows: the most rows of tiles in a block.
        columns: the most columns.
    """

    grid: Grid
    rows: int
    columns: int

    @classmethod
    def over(cls, grid: Grid, sentences: int, pixels: int = PIXELS) -> Blocks:
        """Blocks of at most so many pixels, fewer where there are many sentences; of at least one tile."""
        side = math.isqrt(max(1, min(pixels, SUMS // max(1, sentences))))
        return cls(grid, _tiles_in(side, grid.rows), _tiles_in(side, grid.columns))

    @cached_property
    def spans(self) -> tuple[list[Span], list[Span]]:
        """The blocks along the rows' axis and along the columns'."""
        return _spans(self.grid.rows, self.rows), _spans(self.grid.columns, self.columns)

    def __len__(self) -> int:
        return len(self.spans[0]) * len(self.spans[1])

    def tiles(self, block: int) -> Iterator[tuple[int, int]]:
        """(row, column) in the grid of each of a block's tiles, row by row."""
        down, across = self._spans_of(block)
        return ((row, column) for row in down.tiles for column in across.tiles)

    def tile_count(self, block: int) -> int:
        """Number of a block's tiles."""
        down, across = self._spans_of(block)
        return len(down.tiles) * len(across.tiles)

    def window(self, block: int) -> Window:
        """What a block's tiles cover of the scene."""
        down, across = self._spans_of(block)
        return Window(down.start, across.start, down.end - down.start, across.end - across.start)

    def own(self, block: int) -> Window:
        """What no other block touches; without rows and columns where there is nothing."""
        down, across = self._spans_of(block)
        height, width = down.own_end - down.own_start, across.own_end - across.own_start
        return Window(down.own_start, across.own_start, height, width) if height and width else Window(0, 0, 0, 0)

    def touching(self, window: Window) -> list[int]:
        """The blocks that cover a part of a window, in order."""
        down, across = (
            [i for i, span in enumerate(spans) if span.start < start + length and span.end > start]
            for spans, start, length in zip(self.spans, window[:2], window[2:], strict=True)
        )
        return [row * len(self.spans[1]) + column for row in down for column in across]

    def _spans_of(self, block: int) -> tuple[Span, Span]:
        row, column = divmod(block, len(self.spans[1]))
        return self.spans[0][row], self.spans[1][column]


@dataclass(frozen=True)
class Levels:
    """The blocks of a scene at every scale at which it is looked at, numbered through.

    Attributes:
        blocks: those of each scale.
    """

    blocks: tuple[Blocks, ...]

    def __len__(self) -> int:
        return sum(map(len, self.blocks))

    def find(self, number: int) -> tuple[Blocks, int]:
        """The scale's blocks to which a number belongs, and the number among these."""
        for blocks in self.blocks:
            if number < len(blocks):
                return blocks, number
            number -= len(blocks)
        raise IndexError(number)

    def firsts(self) -> list[int]:
        """The number of each scale's first block."""
        return [sum(map(len, self.blocks[:level])) for level in range(len(self.blocks))]

    def tile_count(self, number: int) -> int:
        """Number of a block's tiles."""
        blocks, own = self.find(number)
        return blocks.tile_count(own)

    def window(self, number: int) -> Window:
        """What a block's tiles cover of the scene."""
        blocks, own = self.find(number)
        return blocks.window(own)

    def own(self, number: int) -> Window:
        """What no other block of its scale touches; see `Blocks.own`."""
        blocks, own = self.find(number)
        return blocks.own(own)


def intersection(one: Window, other: Window) -> Window:
    """What two windows have in common, perhaps nothing."""
    row, column = max(one.row, other.row), max(one.column, other.column)
    end = min(one.row + one.height, other.row + other.height), min(one.column + one.width, other.column + other.width)
    return Window(row, column, max(0, end[0] - row), max(0, end[1] - column))


def relative(window: Window, origin: Window) -> tuple[slice, slice]:
    """A window as indices of an array that covers `origin`."""
    return Window(window.row - origin.row, window.column - origin.column, window.height, window.width).slices


def _tiles_in(side: int, axis: Axis) -> int:
    step = axis.starts[1] - axis.starts[0] if len(axis.starts) > 1 else axis.extent
    return min(TILES, max(1, (side - axis.extent) // step + 1))


def _spans(axis: Axis, count: int) -> list[Span]:
    found, starts = [], axis.starts
    for first in range(0, len(starts), count):
        last = min(first + count, len(starts)) - 1
        start, end = starts[first], starts[last] + axis.extent
        own_start = max(start, starts[first - 1] + axis.extent) if first else 0
        own_end = min(end, starts[last + 1]) if last + 1 < len(starts) else axis.length
        found.append(Span(range(first, last + 1), start, end, own_start, max(own_start, own_end)))
    return found
