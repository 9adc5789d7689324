"""Overlap of boxes, and boxes as masks. Boxes are (x1, y1, x2, y2) with x1 ≤ x2 and y1 ≤ y2, in any one unit."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_TINY = 1e-12


def box_iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of boxes [..., 4] that broadcast with each other → [...], each in 0…1."""
    intersection, union = _overlap(a, b)
    return intersection / union.clamp(min=_TINY)


def complete_iou(a: Tensor, b: Tensor) -> Tensor:
    """CIoU: IoU less a distance of centres and a difference of aspect ratios (Zheng et al. 2020, equations 6 to 11).

    ``IoU - ρ²/c² - α·v``: ρ the distance of the centres, c the diagonal of the smallest box around both,
    ``v = 4/π²·(atan(w_b/h_b) - atan(w_a/h_a))²``, ``α = v / (1 - IoU + v)``, a constant to the gradient.

    Args:
        a: boxes [..., 4].
        b: boxes [..., 4] that broadcast with them.

    Returns:
        [...], each in -1.5…1, and 1 for equal boxes.
    """
    iou = box_iou(a, b)
    span = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    apart = (a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) / 2
    distance = apart.square().sum(-1) / span.square().sum(-1).clamp(min=_TINY)
    v = (4 / math.pi**2) * (_angle(b) - _angle(a)).square()
    with torch.no_grad():
        alpha = v / (1 - iou + v).clamp(min=_TINY)
    return iou - distance - alpha * v


def box_coverage(boxes: Tensor, side: int) -> Tensor:
    """How much of each cell of a square grid a box covers.

    Args:
        boxes: [N, 4] in 0…1 of the grid's extent.
        side: cells along each side.

    Returns:
        [N, side, side], rows from the top, each in 0…1.
    """
    cells = torch.arange(side, device=boxes.device, dtype=boxes.dtype)

    def along(low: Tensor, high: Tensor) -> Tensor:
        low, high = (low * side)[:, None], (high * side)[:, None]
        return (torch.minimum(high, cells + 1) - torch.maximum(low, cells)).clamp(min=0)

    x1, y1, x2, y2 = boxes.unbind(-1)
    return along(y1, y2)[:, :, None] * along(x1, x2)[:, None, :]


def _overlap(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Areas of intersection and union [...]."""
    sides = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0)
    intersection = sides.prod(-1)
    return intersection, _area(a) + _area(b) - intersection


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).prod(-1)


def _angle(boxes: Tensor) -> Tensor:
    width, height = (boxes[..., 2:] - boxes[..., :2]).unbind(-1)
    return torch.atan(width / height.clamp(min=_TINY))
