"""Spreading what a map holds along its rows and columns, as far as the map reaches."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class StripConv(nn.Module):
    """Convolutions along the rows, then along the columns, with kernels as long as two sides of the map.

    Channels are cut into groups that share a kernel. A strip of that length is one matrix product with a Toeplitz
    matrix for each group: every place is reached by every other, in the direction and at the distance of its kernel,
    which "left of" and "above" ask for. Parameters grow with the side, not with its square.

    Args:
        groups: number of kernels; divides the channels.
        side: cells along each side of the map.

    Attributes:
        kernels: [2, groups, 2·side - 1], of rows and of columns; the middle tap is a place's own.
    """

    index: Tensor

    def __init__(self, groups: int, side: int) -> None:
        super().__init__()
        self.groups, self.side = groups, side
        self.kernels = nn.Parameter(torch.randn(2, groups, 2 * side - 1) / side**0.5)
        with torch.no_grad():
            self.kernels[:, :, side - 1] += 1
        cell = torch.arange(side)
        self.register_buffer("index", (cell[:, None] - cell + side - 1).flatten(), persistent=False)  # to from

    def forward(self, x: Tensor) -> Tensor:
        """Tokens of a map, row by row, [B, side², C] → [B, side², C]."""
        side = self.side
        rows, columns = self.kernels[:, :, self.index].unflatten(-1, (side, side)).transpose(-1, -2)
        x = x.transpose(1, 2).unflatten(1, (self.groups, -1)).flatten(2, 3).unflatten(2, (-1, side))  # [B, g, c·h, w]
        x = self._turned(x @ rows)  # [B, g, c·w, h]
        x = self._turned(x @ columns)
        return x.unflatten(2, (-1, side)).flatten(1, 2).flatten(2).transpose(1, 2)

    def _turned(self, x: Tensor) -> Tensor:
        """Swaps rows and columns: [B, g, c·h, w] → [B, g, c·w, h]."""
        return x.unflatten(2, (-1, self.side)).transpose(-1, -2).flatten(2, 3)
