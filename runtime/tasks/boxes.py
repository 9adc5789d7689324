"""Boxes (x1, y1, x2, y2): how far two overlap, and which of many that overlap are kept."""

from __future__ import annotations

import numpy as np


def pairwise_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of every box of [N, 4] with every one of [M, 4]: float64 [N, M], 0 for two empty ones."""
    both = _intersections(a, b)
    return _share(both, _areas(a)[:, None] + _areas(b)[None] - both)


def pairwise_overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over the smaller box: 1 where one lies in the other, float64 [N, M]."""
    return _share(_intersections(a, b), np.minimum(_areas(a)[:, None], _areas(b)[None]))


def suppress(boxes: np.ndarray, scores: np.ndarray, iou: float, overlap: float | None = None) -> np.ndarray:
    """Non-maximum suppression.

    Args:
        boxes: float [N, 4].
        scores: float [N]; of boxes that overlap too much the one with the highest stays.
        iou: two boxes with more than this IoU are one object.
        overlap: so are two whose intersection is more than this share of the smaller one; None for no such rule.

    Returns:
        Indices int64 [K] of those that stay, best first.
    """
    left = np.argsort(-scores, kind="stable")
    kept = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        same = pairwise_iou(boxes[best][None], boxes[left])[0] > iou
        if overlap is not None:
            same |= pairwise_overlap(boxes[best][None], boxes[left])[0] > overlap
        left = left[~same]
    return np.array(kept, np.int64)


def _intersections(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = a.astype(np.float64)[:, None], b.astype(np.float64)[None]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    return np.clip(sides, 0, None).prod(axis=-1)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return np.clip(boxes[:, 2:].astype(np.float64) - boxes[:, :2], 0, None).prod(axis=-1)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), 0.0)
