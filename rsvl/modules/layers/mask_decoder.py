"""The top-down mask decoder of LAVT and the models after it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rsvl.modules.layers.adaptive_rotation import AdaptiveRotatedConv2d


class DecoderBlock(nn.Module):
    """Enlarges the map from above, joins a stage's map to it, two 3×3 convolutions (the second may rotate its kernels).

    Args:
        above: channels of the map from above.
        level: channels of the stage.
        width: channels of the result.
        rotated: whether the second convolution is an adaptive rotated one.
    """

    def __init__(self, above: int, level: int, width: int, rotated: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(above + level, width, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = AdaptiveRotatedConv2d(width) if rotated else nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)

    def forward(self, above: Tensor, level: Tensor) -> Tensor:
        """Maps [B, C', H / 2, W / 2] and [B, C, H, W] → [B, width, H, W]."""
        above = F.interpolate(above, size=level.shape[-2:], mode="bilinear", align_corners=True)
        x = F.relu(self.norm1(self.conv1(torch.cat([above, level], dim=1))))
        return F.relu(self.norm2(self.conv2(x)))


class MaskDecoder(nn.Module):
    """From the maps of four stages to one map at the first stage's size.

    Args:
        levels: channels of the stages, finest first.
        widths: channels after each of the three blocks, coarsest first.
        rotated: whether the blocks' second convolutions are adaptive rotated ones.
    """

    def __init__(self, levels: tuple[int, ...], widths: tuple[int, ...], rotated: bool = False) -> None:
        super().__init__()
        above = (levels[-1], *widths)
        self.blocks = nn.ModuleList(
            DecoderBlock(*sizes, rotated=rotated) for sizes in zip(above, levels[-2::-1], widths, strict=False)
        )

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Maps [B, C, H, W], finest first → [B, width, H, W] of the finest."""
        x = levels[-1]
        for block, level in zip(self.blocks, levels[-2::-1], strict=True):
            x = block(x, level)
        return x
