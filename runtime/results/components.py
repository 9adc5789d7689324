"""The 4-connected components of a mask, by runs: no array of labels as large as the mask is needed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Components:
    """A mask as runs of neighbouring pixels in a row, each of which belongs to a component.

    Attributes:
        count: number of components.
        rows: int64 [R], each run's row.
        starts: int64 [R], its first column.
        ends: int64 [R], the column after its last.
        component: int64 [R], 0…count - 1, numbered by their first pixels in row-major order.
    """

    count: int
    rows: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    component: np.ndarray

    def at(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """The components, int64 [N], of pixels of the mask."""
        width = int(self.ends.max(initial=0)) + 1
        place = np.searchsorted(self.rows * width + self.starts, rows * width + columns, side="right") - 1
        return self.component[place]

    def along_row(self, row: int, width: int) -> np.ndarray:
        """The components of a row's pixels, int64 [width], -1 outside of the mask."""
        first, last = np.searchsorted(self.rows, (row, row + 1))
        found = np.full(width, -1, np.int64)
        for start, end, component in zip(
            self.starts[first:last], self.ends[first:last], self.component[first:last], strict=True
        ):
            found[start:end] = component
        return found

    def along_column(self, column: int, height: int) -> np.ndarray:
        """The components of a column's pixels, int64 [height], -1 outside of the mask."""
        crossing = (self.starts <= column) & (column < self.ends)
        found = np.full(height, -1, np.int64)
        found[self.rows[crossing]] = self.component[crossing]
        return found

    def totals(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Number of pixels, sum and maximum of each component, int64 [count] each.

        Args:
            values: unsigned integers [P], one for each pixel of the mask in row-major order.
        """
        lengths = self.ends - self.starts
        sizes = np.bincount(self.component, lengths, self.count).astype(np.int64)
        if not self.count:
            return sizes, sizes, sizes
        first = np.cumsum(lengths) - lengths
        sums, largest = np.zeros(self.count, np.int64), np.zeros(self.count, np.int64)
        np.add.at(sums, self.component, np.add.reduceat(values, first, dtype=np.int64))
        np.maximum.at(largest, self.component, np.maximum.reduceat(values, first).astype(np.int64))
        return sizes, sums, largest


def components(mask: np.ndarray) -> Components:
    """Finds a mask's components; pixels that touch only at a corner are not connected.

    Args:
        mask: bool [H, W].
    """
    height, width = mask.shape
    padded = np.zeros((height, width + 2), np.int8)
    padded[:, 1:-1] = mask
    change = np.diff(padded, axis=1)
    rows, starts = np.nonzero(change > 0)
    _, ends = np.nonzero(change < 0)
    stride = width + 1
    first_key, last_key = rows * stride + starts, rows * stride + ends
    # The runs of the next row that share a column with this one: from the first that ends behind its start …
    low = np.searchsorted(last_key, first_key + stride, side="right")
    high = np.searchsorted(first_key, last_key + stride, side="left")  # … to the last that starts before its end
    counts = np.maximum(high - low, 0)
    above = np.repeat(np.arange(rows.size), counts)
    below = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(low, counts)
    roots, component = np.unique(connected(rows.size, above, below), return_inverse=True)
    return Components(roots.size, rows, starts, ends, component)


def connected(count: int, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The components of a graph.

    Args:
        count: number of nodes.
        one: int64 [E], an end of each edge.
        other: int64 [E], its other end.

    Returns:
        int64 [count]: the smallest node of each one's component.
    """
    parent = np.arange(count)
    while True:
        a, b = parent[one], parent[other]
        apart = a != b
        if not apart.any():
            return parent
        one, other = one[apart], other[apart]
        a, b = a[apart], b[apart]
        np.minimum.at(parent, np.maximum(a, b), np.minimum(a, b))
        while (parent[parent] != parent).any():
            parent = parent[parent]
