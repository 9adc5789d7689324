"""Sine and cosine encoding of positions on a grid."""

from __future__ import annotations

import torch
from torch import Tensor


def grid_position(width: int, side: int) -> Tensor:
    """Encodes the cells of a square grid, as "Attention Is All You Need" does along each axis (DETR's image form).

    Args:
        width: channels C, a multiple of 4: sines and cosines of x in the first half, of y in the second.
        side: cells along each side.

    Returns:
        float32 [C, side, side]; the wavelengths go from 2π to 2π·100 cells geometrically.
    """
    quarter = width // 4
    frequency = 100.0 ** (-torch.arange(quarter) / quarter)
    angle = torch.arange(side)[:, None] * frequency  # [side, C / 4]
    axis = torch.cat([angle.sin(), angle.cos()], dim=1).T  # [C / 2, side]
    x, y = axis[:, None, :].expand(-1, side, -1), axis[:, :, None].expand(-1, -1, side)
    return torch.cat([x, y])
