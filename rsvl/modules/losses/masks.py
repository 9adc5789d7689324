"""Losses of mask prediction."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def focal_loss(logits: Tensor, target: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Sigmoid focal loss of each sample, normalised by its foreground pixels, as the focal loss paper does by anchors.

    Args:
        logits: float [B, 1, H, W].
        target: float [B, 1, H, W] in 0…1; between them (a pixel covered in part) p_t is e^-H, H the cross entropy.
        alpha: weight of the foreground; the background weighs ``1 - alpha``.
        gamma: focusing exponent.

    Returns:
        [B]. The normaliser is at least 0.1 % of the image, so that empty targets keep a finite weight.
    """
    cross_entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    wrong = torch.exp(-cross_entropy).neg().add(1)
    weight = target * (2 * alpha - 1) + (1 - alpha)
    pixels = target[0].numel()
    foreground = target.flatten(1).sum(1).clamp(min=pixels / 1000)
    return (weight * wrong**gamma * cross_entropy).flatten(1).sum(1) / foreground


def dice_loss(logits: Tensor, target: Tensor, smooth: float = 1.0) -> Tensor:
    """Soft Dice loss ``1 - 2·|P∩T| / (|P| + |T|)`` of each sample.

    Args:
        logits: float [B, 1, H, W].
        target: float [B, 1, H, W] in {0, 1}.
        smooth: added to numerator and denominator, in pixels.

    Returns:
        [B], each in 0…1; 0 where the target is empty: overlap says nothing there, and its gradient would push every
        probability of a large image far below what an empty mask needs.
    """
    probability = logits.sigmoid().flatten(1)
    target = target.flatten(1)
    overlap = (probability * target).sum(1)
    area = target.sum(1)
    return (1 - (2 * overlap + smooth) / (probability.sum(1) + area + smooth)) * (area > 0)


def weighted_cross_entropy(logits: Tensor, target: Tensor, background: float = 0.9, foreground: float = 1.1) -> Tensor:
    """Cross-entropy of two classes with class weights, a weighted mean over all pixels of the batch (LAVT's loss).

    Args:
        logits: the foreground's class logits minus the background's, float [B, 1, H, W].
        target: float [B, 1, H, W] in 0…1.
        background: weight of the background's pixels.
        foreground: weight of the foreground's pixels.

    Returns:
        A scalar.
    """
    cross_entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    weight = background + (foreground - background) * target
    return (weight * cross_entropy).sum() / weight.sum()


def cross_entropy_and_dice(logits: Tensor, target: Tensor) -> Tensor:
    """Weighted cross-entropy and Dice loss of two classes, 0.9 to 0.1 (CADFormer eq. 13; RMSIN and FIANet alike).

    Args:
        logits: the foreground's class logits minus the background's, float [B, 1, H, W].
        target: float [B, 1, H, W] in 0…1.

    Returns:
        A scalar.
    """
    return 0.9 * weighted_cross_entropy(logits, target) + 0.1 * two_class_dice_loss(logits, target).mean()


def two_class_dice_loss(logits: Tensor, target: Tensor, smooth: float = 1e-6) -> Tensor:
    """Soft Dice loss of foreground and background, their mean for each sample (CADFormer's equation 13).

    Args:
        logits: the foreground's class logits minus the background's, float [B, 1, H, W].
        target: float [B, 1, H, W] in 0…1.
        smooth: added to numerator and denominator, in pixels.

    Returns:
        [B], each in 0…1. The foreground's part is 0 where the target is empty (`dice_loss`).
    """
    return (dice_loss(logits, target, smooth) + dice_loss(-logits, 1 - target, smooth)) / 2
