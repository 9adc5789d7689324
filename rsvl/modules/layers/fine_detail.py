"""The last step of small early-fusion models: a finer map, multiplied with the sentence, joins the decoded one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rsvl.modules.losses.contrast import PRIOR_LOGIT, contrast_logits


class FineDetail(nn.Module):
    """Joins the stem's finer map to the decoded one, and gives the text-to-pixel contrast of both.

    Args:
        width: channels of the decoded map.
        stem: channels of the stem's finer map.
        stage: channels of the first stage.
        words: channels of the words.
        size: side of the contrast's logits.
    """

    def __init__(self, width: int, stem: int, stage: int, words: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.detail = nn.Conv2d(stem, width, 1)
        self.detail_gain = nn.Linear(words, width)
        self.stage_gain = nn.Linear(words, stage, bias=False)
        self.contrast_bias = nn.Parameter(torch.tensor(PRIOR_LOGIT))
        self.conv = nn.Conv2d(width, width // 2, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width // 2)
        nn.init.ones_(self.detail_gain.bias)

    def forward(self, x: Tensor, detail: Tensor, sentence: Tensor) -> Tensor:
        """Decoded map [B, C, H, W], detail [B, C, 2·H, 2·W], sentence [B, D] → [B, C / 2, 2·H, 2·W]."""
        x = F.interpolate(x, scale_factor=2, mode="bilinear") + detail * self.detail_gain(sentence)[:, :, None, None]
        return F.relu(self.norm(self.conv(x)))

    def contrast(self, features: tuple[Tensor, ...], sentence: Tensor) -> Tensor:
        """Text-to-pixel logits [N, B, h, w] of sentences [N, D] at the first stage's map and the detail of B images."""
        gains = (self.stage_gain, self.detail_gain)
        return contrast_logits(features, gains, sentence, self.contrast_bias, self.size)
