"""Multi-head attention between two sequences, and what hides a part of one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head attention of queries to a context, both of the same width.

    Args:
        width: channels of queries, context and output.
        heads: number of heads; divides `width`.
        bias: whether queries, keys and values have one.
    """

    def __init__(self, width: int, heads: int, bias: bool = True) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias)
        self.key_value = nn.Linear(width, 2 * width, bias)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attends.

        Args:
            x: queries [B, N, C].
            context: [B, M, C].
            mask: added to the attention scores, float [B, M]; 0 keeps a context position, a large negative hides it.

        Returns:
            [B, N, C].
        """
        key, value = self.key_value(context).chunk(2, dim=-1)
        return self.out(attend(self.query(x), key, value, self.heads, mask))


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    """Scaled dot-product attention in several heads, of what has been projected.

    Args:
        query: [B, N, C].
        key: [B, M, C].
        value: [B, M, C].
        heads: number of heads; divides C.
        mask: added to the attention scores, float [B, M]; 0 keeps a position, a large negative hides it.

    Returns:
        [B, N, C].
    """
    query, key, value = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value))
    bias = None if mask is None else mask[:, None, None, :]
    return F.scaled_dot_product_attention(query, key, value, bias).transpose(1, 2).flatten(2)


def padding_bias(is_word: Tensor) -> Tensor:
    """Attention bias that hides padding: 0 where `is_word` (bool or 0/1) holds, -1e4 (safe in float16) elsewhere."""
    return (1 - is_word.to(torch.float32)) * -1e4
