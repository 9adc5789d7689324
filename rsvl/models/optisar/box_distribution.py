"""Boxes of a pyramid's cells: each side's distance from the cell's centre as a distribution over bins.

Generalized Focal Loss (Li et al. 2020, section 3.2): a distance, in units of the cell's stride, is the mean of a
distribution over the integers 0 … bins - 1. It is bounded, and safe in float16, where an exponential is not.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BoxDistribution(nn.Module):
    """Turns the cells' distributions into boxes.

    Cells are numbered level by level, each level row by row from the top left; R is their number.

    Args:
        size: side of the square image in pixels.
        strides: of the pyramid's levels, in pixels; each divides `size`.
        bins: number of integer distances.

    Attributes:
        centres: of the cells, [R, 2] (x, y) in 0…1 of the image.
        strides: of the cells, [R, 1] in 0…1 of the image.
    """

    centres: Tensor
    strides: Tensor
    distances: Tensor

    def __init__(self, size: int, strides: tuple[int, ...], bins: int) -> None:
        super().__init__()
        centres, steps = [], []
        for stride in strides:
            axis = (torch.arange(size // stride) + 0.5) * stride / size
            y, x = torch.meshgrid(axis, axis, indexing="ij")
            centres.append(torch.stack([x, y], dim=-1).flatten(0, 1))
            steps.append(torch.full((axis.numel() ** 2, 1), stride / size))
        self.bins = bins
        self.register_buffer("centres", torch.cat(centres), persistent=False)
        self.register_buffer("strides", torch.cat(steps), persistent=False)
        self.register_buffer("distances", torch.arange(bins, dtype=torch.float32), persistent=False)

    def forward(self, logits: Tensor) -> Tensor:
        """Logits [B, R, 4·bins], of left, top, right and bottom in turn → boxes [B, R, 4]; may leave 0…1."""
        distance = logits.unflatten(-1, (4, self.bins)).softmax(dim=-1) @ self.distances * self.strides
        return torch.cat([self.centres - distance[..., :2], self.centres + distance[..., 2:]], dim=-1)

    def loss(self, logits: Tensor, cells: Tensor, boxes: Tensor) -> Tensor:
        """Distribution focal loss of M cells: cross entropy with the two nearest bins, mean over a box's four sides.

        Args:
            logits: [M, 4·bins].
            cells: int64 [M], which cells they are.
            boxes: [M, 4], the boxes they should give.

        Returns:
            [M]. Distances beyond the last bin count as the last.
        """
        centres, strides = self.centres[cells], self.strides[cells]
        distance = torch.cat([centres - boxes[:, :2], boxes[:, 2:] - centres], dim=1) / strides
        distance = distance.clamp(0, self.bins - 1)
        low = distance.floor().clamp(max=self.bins - 2)
        share = distance - low  # of the upper bin
        log_p = logits.float().unflatten(-1, (4, self.bins)).log_softmax(dim=-1)
        index = low.long().unsqueeze(-1)
        at_low, at_high = log_p.gather(-1, index).squeeze(-1), log_p.gather(-1, index + 1).squeeze(-1)
        return -((1 - share) * at_low + share * at_high).mean(dim=-1)


def small_first(bins: int) -> Tensor:
    """A bias [4·bins] for the logits with which a fresh layer predicts boxes about three strides wide."""
    return F.log_softmax(-torch.arange(bins) / 2, dim=0).repeat(4)
