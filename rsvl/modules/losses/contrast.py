"""Text-to-pixel contrast (as CRIS has it): features that a sentence multiplies are, summed, already its mask.

It has no weights of its own but a bias, and teaches the encoders directly, from every sentence and from the names of
the dataset's classes, where no weights are pretrained. Training only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: A foreground prior of 1 %, as the focal loss paper starts from.
PRIOR_LOGIT = -4.6


def contrast_logits(
    features: Sequence[Tensor], gains: Sequence[nn.Linear], sentence: Tensor, bias: Tensor, size: int
) -> Tensor:
    """Logits of sentences at the pixels of images: Σ_c feature·gain / √C, summed over the feature levels.

    Only what a sentence adds to the gains counts: their biases would lift every pixel's logit alike.

    Args:
        features: maps of B images, each [B, C, H, W].
        gains: from a sentence to the gain of each of a map's channels, E → C.
        sentence: N sentences [N, E].
        bias: a scalar, added to every logit.
        size: side of the result.

    Returns:
        float32 [N, B, size, size].
    """
    logits = bias.float()
    for feature, gain in zip(features, gains, strict=True):
        weight = F.linear(sentence, gain.weight) / math.sqrt(feature.shape[1])
        level = F.conv2d(feature, weight[:, :, None, None].to(feature.dtype)).float()
        logits = logits + F.interpolate(level, size=(size, size), mode="bilinear")
    return logits.transpose(0, 1)


def contrast_loss(
    loss: Callable[[Tensor, Tensor], Tensor],
    logits: Tensor,
    image_index: Tensor,
    masks: Tensor,
    class_masks: Tensor | None,
) -> Tensor:
    """The loss of every sentence in its own image, plus that of every class name in every image.

    Args:
        loss: from logits and masks, both [n, 1, h, w], to a scalar.
        logits: of N sentences and after them K class names at B images, [N + K, B, h, w].
        image_index: int64 [N], each sentence's image.
        masks: float [N, 1, H, W] in 0…1, averaged down to the logits' size.
        class_masks: float [B, K, H, W], or none for K = 0; -1 in all of a mask that is not known.
    """
    count, size = masks.shape[0], logits.shape[-2:]
    own = logits[torch.arange(count, device=masks.device), image_index][:, None]
    total = loss(own, F.interpolate(masks, size=size, mode="area"))
    if class_masks is not None and class_masks.shape[1]:
        named = F.interpolate(class_masks, size=size, mode="area").transpose(0, 1)
        known = named[..., 0, 0] >= 0
        total = total + loss(logits[count:][known][:, None], named[known][:, None])
    return total
