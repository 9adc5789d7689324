"""COCO segmentations to masks: run-length codes (compressed or not) and polygons, several parts united."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from rsvl.runtime.errors import MissingComponentError
from rsvl.runtime.extras import remedy

_MAX_REACH = 10
"""How far a polygon may lie outside of its image, in sides of the image."""


def decode_segmentation(parts: Sequence[Any], height: int, width: int) -> np.ndarray:
    """Unites the parts of a segmentation into one mask.

    Args:
        parts: run-length codes (dicts of ``size`` [height, width] and ``counts``) and polygons (flat lists x0, y0, x1,
            y1, … in pixels).
        height: the image's height, for the polygons.
        width: the image's width, for the polygons.

    Returns:
        bool [height, width]; run-length codes of another size come back at their own size.

    Raises:
        ValueError, TypeError, KeyError: a part is damaged.
        MissingComponentError: pycocotools is not installed.
    """
    try:
        from pycocotools import mask as coco
    except ImportError as error:
        raise MissingComponentError(f"decoding masks needs pycocotools: {remedy('pycocotools')}") from error
    codes = [_run_length_code(part, height, width, coco) for part in parts]
    if not codes:
        return np.zeros((height, width), dtype=bool)
    return coco.decode(coco.merge(codes) if len(codes) > 1 else codes[0]).astype(bool)


def _run_length_code(part: Any, height: int, width: int, coco: Any) -> dict[str, Any]:
    if not isinstance(part, dict):
        if len(part) < 6 or len(part) % 2:
            raise ValueError(f"a polygon of {len(part)} numbers")
        reach = _MAX_REACH * max(height, width, 1)
        if not all(math.isfinite(number) and abs(number) <= reach for number in part):  # pycocotools would crash
            raise ValueError("a polygon far outside of its image")
        return coco.frPyObjects([part], height, width)[0]
    rows, columns = (int(n) for n in part["size"])
    counts = part["counts"]
    if isinstance(counts, str):
        counts = counts.encode("ascii")
    covered = counts_total(counts) if isinstance(counts, bytes) else sum(counts)
    # pycocotools leaves the pixels after too short a code uninitialised, so the sum is checked here.
    if covered != rows * columns:
        raise ValueError(f"a run-length code of {covered} pixels for a mask of {rows * columns}")
    if isinstance(counts, bytes):
        return {"size": [rows, columns], "counts": counts}
    return coco.frPyObjects({"size": [rows, columns], "counts": list(counts)}, rows, columns)


def counts_total(counts: bytes) -> int:
    """How many pixels a compressed run-length code covers, which must be the mask's height times its width.

    The code is COCO's: each number in groups of five bits, lowest first, as characters from ``0`` on, where bit 5 says
    that another group follows and bit 4 of the last group is the sign; from the fourth number on, each stands for the
    difference to the number two before it.
    """
    groups = np.frombuffer(counts, np.uint8).astype(np.int64) - 48
    if groups.size == 0 or groups.min() < 0 or groups.max() > 63 or groups[-1] & 32:
        raise ValueError("not a compressed run-length code")
    last = (groups & 32) == 0
    number = np.cumsum(last) - last
    start = np.concatenate([[0], np.flatnonzero(last)[:-1] + 1])
    place = 5 * (np.arange(groups.size) - start[number])
    if place.max() > 40:
        raise ValueError("a run of more than 2^40 pixels")
    values = np.zeros(start.size, np.int64)
    np.add.at(values, number, (groups & 31) << place)
    negative = last & ((groups & 16) != 0)
    np.subtract.at(values, number[negative], np.int64(32) << place[negative])
    return int(values[0] + np.cumsum(values[1::2]).sum() + np.cumsum(values[2::2]).sum())
