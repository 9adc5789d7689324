"""Where the tiles' probabilities become one mask, with memory for no more than one row of tiles in float."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rsvl.runtime.images.tiling import Window
from rsvl.runtime.results.objects import ONE


class MaskAccumulator:
    """Accumulates one sentence's weighted tiles and finalizes rows of the mask as soon as no later tile touches them.

    Attributes:
        mask: bool [H, W], valid in the rows that are final.
        probability: float32 [H, W] in the rows that are final, None unless kept.
        threshold: above which a probability is inside.
        inside: of the rows that are final, the probabilities of the mask's pixels, as `Segmentation.inside`, in pieces.
    """

    def __init__(self, height: int, width: int, threshold: float, keep_probability: bool) -> None:
        self.mask = np.zeros((height, width), bool)
        self.probability = np.zeros((height, width), np.float32) if keep_probability else None
        self.threshold = threshold
        self._final_rows = 0
        self._open = np.zeros((0, width), np.float32)  # sums for the rows that follow the final ones
        self._inside_sum, self._inside_count = 0.0, 0
        self.inside = [np.zeros(0, np.uint16)]

    def add(self, window: Window, probability: np.ndarray, weight: np.ndarray) -> None:
        """Adds a tile.

        Args:
            window: where it lies, below the rows that are final.
            probability: float32 [h, w], 0…1.
            weight: float32 [h, w]; over all tiles the weights sum to 1 at every pixel.
        """
        first, last = window.row - self._final_rows, window.row - self._final_rows + window.height
        self._grow(last)
        self._open[first:last, window.column : window.column + window.width] += probability * weight

    def finalize_rows(self, row: int) -> None:
        """Makes all rows before `row` final: no tile to come touches them."""
        count = row - self._final_rows
        if count <= 0:
            return
        self._grow(count)
        final, rows = self._open[:count], slice(self._final_rows, row)
        np.greater(final, self.threshold, out=self.mask[rows])
        inside = final[self.mask[rows]]
        self._inside_sum += float(inside.sum(dtype=np.float64))
        self._inside_count += inside.size
        self.inside.append(np.rint(np.minimum(inside, 1) * ONE).astype(np.uint16))
        if self.probability is not None:
            self.probability[rows] = final
        self._open, self._final_rows = self._open[count:].copy(), row  # a view would keep the final rows in memory

    @property
    def score(self) -> float:
        """Mean probability inside the mask so far, 0…1; 0 while it is empty."""
        return min(self._inside_sum / self._inside_count, 1.0) if self._inside_count else 0.0

    def _grow(self, rows: int) -> None:
        missing = rows - len(self._open)
        if missing > 0:
            self._open = np.concatenate([self._open, np.zeros((missing, self.mask.shape[1]), np.float32)])


def largest(scales: Sequence[MaskAccumulator], keep_probability: bool) -> MaskAccumulator:
    """One mask of those of several scales, by the largest probability of each pixel.

    Args:
        scales: accumulators whose rows are all final, with their probabilities where there are several.
        keep_probability: whether the result has the probability.
    """
    if len(scales) == 1:
        return scales[0]
    whole = np.maximum.reduce([each.probability for each in scales if each.probability is not None])
    height, width = whole.shape
    found = MaskAccumulator(height, width, scales[0].threshold, keep_probability)
    found.add(Window(0, 0, height, width), whole, np.ones((1, 1), np.float32))
    found.finalize_rows(height)
    return found
