"""Agreement of masks: the cut, the IoU of each sample, the least that counts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rsvl.runtime.tasks.segmentation import mask_cut, mask_ious

HALF = math.log(0.4 / 0.6)


@pytest.mark.parametrize(
    ("inside", "cut", "name"),
    [(0.5, HALF, "threshold"), (0.001, -2.0, "median"), (0.0, -2.0, "median"), (1.0, 3.0, "median")],
)
def test_mask_cut_is_the_threshold_where_masks_there_say_something(inside: float, cut: float, name: str) -> None:
    values = np.full(20_000, -2.0, np.float32)
    values[: round(inside * len(values))] = 3.0
    assert mask_cut(values.reshape(2, 1, 100, 100), 0.4) == (pytest.approx(cut), name)


def masks(*pixels: slice) -> np.ndarray:
    """Logits [N, 1, 100, 100] that are positive in a range of pixels of each sample."""
    values = np.full((len(pixels), 10_000), -1.0, np.float32)
    for row, inside in zip(values, pixels, strict=True):
        row[inside] = 1.0
    return values.reshape(-1, 1, 100, 100)


@pytest.mark.parametrize(
    ("expected", "actual", "ious", "least"),
    [
        ([slice(0, 4000)], [slice(0, 2000)], [0.5], 0.5),
        ([slice(0, 0), slice(0, 4000)], [slice(0, 0), slice(0, 4000)], [1.0, 1.0], 1.0),
        ([slice(0, 2), slice(0, 4000)], [slice(0, 1), slice(0, 4000)], [0.5, 1.0], 4001 / 4002),
        ([slice(0, 2000), slice(0, 8000)], [slice(0, 1980), slice(0, 8000)], [0.99, 1.0], 0.99),
        ([slice(0, 9), slice(0, 9)], [slice(9, 18), slice(0, 9)], [0.0, 1.0], 9 / 27),
        ([slice(0, 0)], [slice(0, 0)], [1.0], 1.0),
    ],
)
def test_mask_ious_of_each_sample_and_the_least_that_counts(
    expected: list[slice], actual: list[slice], ious: list[float], least: float
) -> None:
    found, found_least = mask_ious(masks(*expected), masks(*actual), 0.0)
    assert found == pytest.approx(ious)
    assert found_least == pytest.approx(least)
