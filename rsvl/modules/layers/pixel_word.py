"""Attention between pixels and words: the blocks that LAVT and the models after it share.

Pixels are the tokens [B, N, C] of a Swin stage; words are [B, T, D] with a bias [B, T] that hides padding
(`rsvl.modules.layers.attention.padding_bias`). The 1×1 convolutions of the papers are linear layers here.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_EPS = 1e-5


def instance_norm(x: Tensor, bias: Tensor | None = None) -> Tensor:
    """Instance norm of tokens [B, N, C] over their N places, without gain, in float32 at least inside.

    Args:
        x: the tokens.
        bias: padding bias [B, N]: what it hides is left out of mean and variance.

    Returns:
        [B, N, C] in x's dtype.
    """
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    if bias is None:
        wide = wide - wide[:, :1]  # changes nothing but the rounding: a map that is the same everywhere becomes 0
        centred = wide - wide.mean(1, keepdim=True)
        variance = centred.square().mean(1, keepdim=True)
    else:
        keep = (bias >= 0).float()[:, :, None]
        share = keep / keep.sum(1, keepdim=True).clamp(min=1)
        centred = wide - (wide * share).sum(1, keepdim=True)
        variance = (centred.square() * share).sum(1, keepdim=True)
    return (centred * torch.rsqrt(variance + _EPS)).to(x.dtype)


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    """One-head attention of queries [B, N, C] to keys and values [B, M, C], bias [B, M] → [B, N, C]."""
    mask = None if bias is None else bias[:, None, None, :].to(query.dtype)
    return F.scaled_dot_product_attention(query[:, None], key[:, None], value[:, None], mask)[:, 0]


class PixelWordAttention(nn.Module):
    """Attention of pixels to words (LAVT's language-aware attention; CADFormer's equation 1).

    Args:
        width: channels of the pixels, of keys, values and the result.
        words: channels of the words.
    """

    def __init__(self, width: int, words: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(words, width)
        self.value = nn.Linear(words, width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, words: Tensor, bias: Tensor) -> Tensor:
        """Pixels [B, N, C], words [B, T, D] and their padding bias [B, T] → [B, N, C]."""
        attended = attend(instance_norm(self.query(x)), self.key(words), self.value(words), bias)
        return instance_norm(self.out(attended))


class PWAM(nn.Module):
    """LAVT's pixel–word attention module: what a pixel attends to, times what it is (CADFormer's LGVLA, equations 1–3).

    Args:
        width: channels of the pixels.
        words: channels of the words.
    """

    def __init__(self, width: int, words: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, width)
        self.attention = PixelWordAttention(width, words)
        self.merge = nn.Linear(width, width)

    def forward(self, x: Tensor, words: Tensor, bias: Tensor) -> Tensor:
        """Pixels [B, N, C], words [B, T, D] and their padding bias [B, T] → [B, N, C]."""
        return F.gelu(self.merge(F.gelu(self.project(x)) * self.attention(x, words, bias)))


class LanguageGate(nn.Module):
    """LAVT's language gate: how much of each value passes, from -1 to 1 (CADFormer's equation 4).

    Args:
        width: channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(width, width, bias=False), nn.ReLU(), nn.Linear(width, width, bias=False), nn.Tanh()
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, C] → [B, N, C]."""
        return self.mlp(x) * x
