"""How a scene larger than the model is cut into overlapping tiles, and how their results become one again.

Every tile has a weight that rises smoothly (as a squared sine) over the overlap. The weights of each axis are
normalised so that over all tiles they sum to 1 at every pixel; a tile's weight is the product of its row weight and
its column weight, so the sum over tiles of weight × probability is the blended probability, with nothing to divide by
afterwards, and a row is final as soon as the last tile that touches it is done.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import NamedTuple

import numpy as np


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
