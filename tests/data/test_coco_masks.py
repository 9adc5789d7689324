"""COCO segmentations to masks, against pycocotools' own encoder."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco

from rsvl.data.coco_masks import counts_total, decode_segmentation
from tests.support.public_layouts import compressed, uncompressed


def _random_mask(seed: int, height: int, width: int, share: float) -> np.ndarray:
    return np.random.default_rng(seed).random((height, width)) < share


CASES = [(0, 17, 33, 0.5), (1, 64, 64, 0.02), (2, 800, 800, 0.0), (3, 800, 800, 1.0), (4, 1, 7, 0.5), (5, 300, 5, 0.9)]


@pytest.mark.parametrize(("seed", "height", "width", "share"), CASES)
@pytest.mark.parametrize("encode", [compressed, uncompressed])
def test_run_length_code_round_trips(
    encode: Callable[[np.ndarray], dict[str, Any]], seed: int, height: int, width: int, share: float
) -> None:
    mask = _random_mask(seed, height, width, share)
    np.testing.assert_array_equal(decode_segmentation([encode(mask)], height, width), mask)


@pytest.mark.parametrize(("seed", "height", "width", "share"), CASES)
def test_counts_total_is_the_masks_pixels(seed: int, height: int, width: int, share: float) -> None:
    mask = _random_mask(seed, height, width, share)
    counts = coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
    assert counts_total(counts) == height * width


def test_overlapping_parts_unite() -> None:
    one, two = _random_mask(1, 20, 30, 0.4), _random_mask(2, 20, 30, 0.4)
    np.testing.assert_array_equal(decode_segmentation([compressed(one), uncompressed(two)], 20, 30), one | two)


def test_no_parts_give_an_empty_mask() -> None:
    assert not decode_segmentation([], 4, 5).any()


@pytest.mark.parametrize(
    "part",
    [
        pytest.param({"size": [8, 8], "counts": "08"}, id="covers fewer pixels"),
        pytest.param({"size": [8, 8], "counts": "zzzz"}, id="characters that no code has"),
        pytest.param({"size": [8, 8], "counts": "PPP"}, id="ends within a number"),
        pytest.param({"size": [8, 8], "counts": ""}, id="empty"),
        pytest.param({"size": [8, 8], "counts": [10, 20]}, id="sums to fewer pixels"),
        pytest.param({"size": [8, 8], "counts": [0, 640]}, id="sums to more pixels"),
        pytest.param([1.0, 2.0, 3.0, 4.0], id="polygon of two points"),
        pytest.param([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], id="polygon of odd length"),
    ],
)
def test_damaged_part_is_refused(part: Any) -> None:
    with pytest.raises(ValueError, match=r"pixels|code|polygon"):
        decode_segmentation([part], 8, 8)


@pytest.mark.parametrize("far", [1e9, -1e300, float("nan"), float("inf")])
def test_polygon_far_outside_of_its_image_is_refused(far: float) -> None:
    with pytest.raises(ValueError, match="far outside"):
        decode_segmentation([[0, 0, far, 0, 4, 4]], 8, 8)
