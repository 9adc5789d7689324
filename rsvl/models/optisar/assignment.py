"""Which cells of a pyramid shall learn the boxes that sentences name."""

from __future__ import annotations

import torch
from torch import Tensor

#: Exponents of the alignment metric (Feng et al. 2021, as YOLOv8 sets them).
SCORE_POWER, OVERLAP_POWER = 0.5, 6.0
_LEAST = 1e-30  # keeps cells that do not overlap yet in the choice


def centres_inside(centres: Tensor, boxes: Tensor, least: float) -> Tensor:
    """Whether cell centres [R, 2] lie in boxes [N, 4] → bool [N, R].

    A box narrower than `least` counts as that wide, so that one of a few pixels has a cell, too.
    """
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    reach = (boxes[:, 2:] - boxes[:, :2]).clamp(min=least) / 2
    return ((centres - middle[:, None]).abs() <= reach[:, None]).all(dim=-1)


@torch.no_grad()
def task_aligned(
    score: Tensor, overlap: Tensor, inside: Tensor, top: int, owner: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Task-aligned assignment (TOOD, section 3.2): the cells that both match the sentence and box its object best.

    Args:
        score: probability that a cell matches a box's sentence, [N, R] in 0…1.
        overlap: IoU of the cell's box with the true one, [N, R].
        inside: the cells that may be chosen, bool [N, R]; none for a no-target sentence.
        top: most cells to choose for a box.
        owner: int64 [N], which sentence a box is of: of several boxes of one sentence that choose the same cell, the
            one that it overlaps most has it. None where each has a sentence of its own.

    Returns:
        Chosen, bool [N, R]; and what each cell's score should be, [N, R]: the metric scaled so that a box's best cell
        has its largest IoU, zero for cells not chosen.
    """
    metric = score.float().pow(SCORE_POWER) * overlap.float().pow(OVERLAP_POWER)
    metric = (metric + _LEAST) * inside
    best = metric.topk(min(top, metric.shape[1]), dim=1)
    chosen = torch.zeros_like(inside).scatter(1, best.indices, best.values > 0)
    if owner is not None:
        chosen &= _overlaps_most(overlap.float() * chosen, owner)
    metric = metric * chosen
    quality = metric / metric.amax(1, keepdim=True).clamp(min=_LEAST) * (overlap * chosen).amax(1, keepdim=True)
    return chosen, quality


def _overlaps_most(overlap: Tensor, owner: Tensor) -> Tensor:
    """Where a row [N, R] has the largest value of all rows of its owner; of equal ones, the first."""
    count = int(owner.max()) + 1 if len(owner) else 0
    order = torch.arange(len(owner), 0, -1, device=owner.device, dtype=overlap.dtype)[:, None]

    def most(values: Tensor) -> Tensor:
        start = values.new_full((count, values.shape[1]), -1)
        return start.scatter_reduce(0, owner[:, None].expand_as(values), values, "amax")[owner]

    best = overlap == most(overlap)
    return best & (order == most(torch.where(best, order, 0)))
