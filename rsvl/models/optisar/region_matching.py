"""Losses of matching regions with sentences and of finding the box that each sentence names.

Shapes: N sentences about B images with R regions each, K of which are candidates for a sentence.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rsvl.models.optisar.boxes import box_coverage, box_iou, complete_iou
from rsvl.modules.losses.masks import dice_loss, focal_loss

#: Negatives that a sentence is contrasted with.
HARDEST = 64
#: IoU from which a candidate counts as right, and from which its box is refined.
RIGHT, NEAR = 0.5, 0.3
#: The logit of what is no negative: as good as minus infinity, whose gradient is not a number.
_NEVER = -1e4


@dataclass
class Targets:
    """What the sentences name, and the regions that shall learn it.

    Attributes:
        boxes: float [N, 4], x1, y1, x2, y2 in 0…1; anything where a sentence has no target.
        present: bool [N], whether it has one.
        image: int64 [N], the image of each sentence.
        chosen: bool [N, R], the regions that learn the sentence's box.
        false: bool [N, R], the regions that are certainly not the sentence's.
        quality: float [N, R], what the chosen regions' scores should be, 0…1; zero elsewhere.
    """

    boxes: Tensor
    present: Tensor
    image: Tensor
    chosen: Tensor
    false: Tensor
    quality: Tensor


def match_losses(match: Tensor, logits: Tensor, goal: Targets) -> dict[str, Tensor]:
    """Calibration of the match and of the fused logits [N, R], and both contrasts of the match: scalars by name."""
    total = goal.quality.sum().clamp(min=1)
    same = box_iou(goal.boxes[:, None], goal.boxes) >= RIGHT
    other = ~(same & goal.present) & (goal.image[:, None] == goal.image)
    contrast = region_contrast(match, goal.quality, goal.false, HARDEST)
    contrast = contrast + sentence_contrast(match, goal.quality.argmax(dim=1), other)
    return {
        "match": quality_focal_loss(match, goal.quality).sum() / total,
        "fused": quality_focal_loss(logits, goal.quality).sum() / total,
        "contrast": _mean_where(contrast, goal.present),
    }


def candidate_losses(scores: Tensor, found: Tensor, goal: Targets) -> dict[str, Tensor]:
    """Of candidates' logits [N, K] and boxes [N, K, 4]: calibration, choice of the best, boxes; scalars by name."""
    target = goal.boxes[:, None]
    overlap = box_iou(found.detach(), target) * goal.present[:, None]
    quality = overlap * (overlap >= RIGHT)
    sharp = quality**4
    share = sharp / sharp.sum(dim=1, keepdim=True).clamp(min=1e-9)
    best = -(share * scores.float().log_softmax(dim=1)).sum(dim=1)
    return {
        "candidates": quality_focal_loss(scores, quality).sum() / quality.sum().clamp(min=1),
        "best": _mean_where(best, sharp.sum(dim=1) > 0),
        "refined": _mean_where(1 - complete_iou(found, target), overlap >= NEAR),
    }


def mask_loss(logits: Tensor, goal: Targets) -> Tensor:
    """Focal and Dice loss of logits [N, 1, h, w] of masks that should be the boxes, a scalar."""
    boxes = goal.boxes * goal.present[:, None]
    mask = box_coverage(boxes, logits.shape[-1]).unsqueeze(1)
    return (focal_loss(logits, mask) + dice_loss(logits, mask)).mean()


def quality_focal_loss(logits: Tensor, quality: Tensor) -> Tensor:
    """Quality focal loss (Generalized Focal Loss, equation 3, β = 2): ``|quality - p|²`` times the cross entropy.

    Args:
        logits: [...].
        quality: what the probabilities should be, [...] in 0…1.

    Returns:
        [...], zero where the probability is the quality.
    """
    logits = logits.float()
    cross_entropy = F.binary_cross_entropy_with_logits(logits, quality, reduction="none")
    return (quality - logits.sigmoid()).square() * cross_entropy


def region_contrast(logits: Tensor, quality: Tensor, negative: Tensor, hardest: int) -> Tensor:
    """Contrast of each sentence's own regions with the false ones that resemble it most, found anew in every step.

    InfoNCE with dynamic adversarial negatives: the `hardest` regions are those that the model, as it is, rates highest.

    Args:
        logits: of regions and sentences, [N, R].
        quality: weight of a sentence's own regions, [N, R], zero elsewhere.
        negative: which regions are certainly not the sentence's, bool [N, R].
        hardest: negatives a sentence is contrasted with.

    Returns:
        [N]; zero for a sentence without regions of its own.
    """
    logits = logits.float()
    hard = logits.masked_fill(~negative, _NEVER).topk(min(hardest, logits.shape[1]), dim=1).values
    against = torch.logaddexp(logits, hard.logsumexp(dim=1, keepdim=True)) - logits
    return (against * quality).sum(dim=1) / quality.sum(dim=1).clamp(min=1e-9)


def sentence_contrast(logits: Tensor, own: Tensor, negative: Tensor) -> Tensor:
    """Contrast of each sentence's best region with the other sentences, which shall not claim it.

    Args:
        logits: of regions and sentences, [N, R]; sentences of another image than `own`'s are not negatives.
        own: int64 [N], each sentence's best region.
        negative: bool [N, N], whether sentence (column) certainly names another thing than sentence (row) does.

    Returns:
        [N]; zero for a sentence with no negatives.
    """
    claims = logits.float().index_select(1, own).T  # [region of sentence n, claimed by sentence m]
    mine = claims.diagonal()
    others = claims.masked_fill(~negative, _NEVER).logsumexp(dim=1)
    return torch.logaddexp(mine, others) - mine


def _mean_where(values: Tensor, counted: Tensor) -> Tensor:
    return (values * counted).sum() / counted.sum().clamp(min=1)
