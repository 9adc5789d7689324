"""BAMTA: balanced attention to where and to which channel, for small satellite images, trained from scratch.

"Balanced Multi-Task Attention for Satellite Image Classification" (97.23 % on EuroSAT): twelve convolutions of 3×3, a
stem of two and five residual blocks of two. The branch of each block is attended to in two ways at once, coordinate
attention for where (Hou et al., 2021) and squeeze-excitation for which channel (Hu et al., 2018), and a learned share α
in 0…1 says how much of each: α · spatial + (1 - α) · spectral. Training drops contiguous squares of the branches
(DropBlock, Ghiasi et al., 2018), more of them the deeper the block: 5 % in the first, 20 % in the last.

The paper is known here by its abstract. Chosen: the widths, that the halvings are in the stem and in the second and
fourth block, the bottlenecks' reduction, one α per block, and the mean over the last map as the head's input.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rsvl.modules.bases.classification import EUROSAT_MEAN, EUROSAT_STD, ClassificationModel, classification_spec
from rsvl.registry import register
from rsvl.runtime.manifest import ImageSpec

_SQUARE = 3
"""Side of what DropBlock drops."""
_STRIDES = (1, 2, 1, 2, 1)


@dataclass(frozen=True)
class Preset:
    """Sizes of a BAMTA.

    Attributes:
        widths: channels of the stem and of the five blocks.
        image_size: side of the square input in pixels.
        mean: of each channel of the training images, 0…1.
        std: likewise their standard deviation.
        drop: DropBlock's probability in the first and in the last block.
        reduction: of the attentions' bottlenecks, which have at least eight channels.
        classes: as many logits, until training counts the data's classes.
    """

    widths: tuple[int, ...] = (24, 48, 96, 96, 192, 192)
    image_size: int = 64
    mean: tuple[float, ...] = EUROSAT_MEAN
    std: tuple[float, ...] = EUROSAT_STD
    drop: tuple[float, float] = (0.05, 0.20)
    reduction: int = 16
    classes: int = 10


@register("bamta", presets={"bamta": Preset(), "bamta-tiny": Preset(widths=(12, 24, 48, 48, 96, 96))})
class BAMTA(ClassificationModel):
    """The model, built from a preset; its one graph is image, from images [B, 3, S, S] to logits [B, C]."""

    def __init__(self, name: str, preset: Preset) -> None:
        super().__init__()
        image = ImageSpec(preset.image_size, preset.mean, preset.std)
        paper = "Balanced Multi-Task Attention for Satellite Image Classification"
        self.spec = classification_spec(name, paper, image, preset.classes)
        stem, *widths = preset.widths
        self.stem = nn.Sequential(_convolution(3, stem, 1), nn.ReLU(), _convolution(stem, stem, 2), nn.ReLU())
        first, last = preset.drop
        drops = [first + (last - first) * index / (len(widths) - 1) for index in range(len(widths))]
        inputs = (stem, *widths[:-1])
        self.blocks = nn.Sequential(
            *(
                Block(channels, width, stride, drop, preset.reduction)
                for channels, width, stride, drop in zip(inputs, widths, _STRIDES, drops, strict=True)
            )
        )
        self.head = nn.Linear(widths[-1], preset.classes)

    def encode_image(self, image: Tensor) -> tuple[Tensor]:
        """See `ClassificationModel`."""
        return (self.head(self.blocks(self.stem(image)).mean((2, 3))),)

    def class_layer(self) -> tuple[str, nn.Linear]:
        """See `ClassificationModel`."""
        return "head", self.head


class Block(nn.Module):
    """Two convolutions, their attention, and what passes by: [B, inputs, H, W] → [B, width, H / stride, W / stride]."""

    def __init__(self, inputs: int, width: int, stride: int, drop: float, reduction: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(_convolution(inputs, width, stride), nn.ReLU(), _convolution(width, width, 1))
        self.attention = BalancedAttention(width, reduction)
        self.drop = DropBlock(drop)
        self.shortcut: nn.Module = nn.Identity()
        if inputs != width or stride > 1:
            halve = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
            self.shortcut = nn.Sequential(halve, nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.drop(self.attention(self.branch(x))) + self.shortcut(x))


class BalancedAttention(nn.Module):
    """α · coordinate attention + (1 - α) · squeeze-excitation of [B, C, H, W], with α the sigmoid of `balance`."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.spatial = CoordinateAttention(channels, reduction)
        self.spectral = SqueezeExcitation(channels, reduction)
        self.balance = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        share = self.balance.sigmoid()
        rows, columns = self.spatial(x)
        # One weight per pixel: the small gates are mixed before they meet the map.
        return x * (share * rows * columns + (1 - share) * self.spectral(x))


class CoordinateAttention(nn.Module):
    """Weights of each row [B, C, H, 1] and column [B, C, 1, W] of each channel, from their means (Hou et al., 2021)."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        bottleneck = max(8, channels // reduction)
        self.squeeze = nn.Sequential(nn.Conv2d(channels, bottleneck, 1, bias=False), nn.BatchNorm2d(bottleneck))
        self.rows = nn.Conv2d(bottleneck, channels, 1)
        self.columns = nn.Conv2d(bottleneck, channels, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        height = x.shape[2]
        means = torch.cat([x.mean(3, keepdim=True), x.mean(2, keepdim=True).transpose(2, 3)], 2)
        squeezed = F.hardswish(self.squeeze(means))
        rows, columns = squeezed[:, :, :height], squeezed[:, :, height:].transpose(2, 3)
        return self.rows(rows).sigmoid(), self.columns(columns).sigmoid()


class SqueezeExcitation(nn.Module):
    """Weights of each channel [B, C, 1, 1], from the means of all (Hu et al., 2018)."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        bottleneck = max(8, channels // reduction)
        self.squeeze, self.excite = nn.Linear(channels, bottleneck), nn.Linear(bottleneck, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.excite(F.relu(self.squeeze(x.mean((2, 3))))).sigmoid()[:, :, None, None]


class DropBlock(nn.Module):
    """In training, zeros squares of each channel, a share `probability` of all pixels in the mean; the rest grows."""

    def __init__(self, probability: float, side: int = _SQUARE) -> None:
        super().__init__()
        self.probability, self.side = probability, side

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.probability == 0:
            return x
        batch, channels, height, width = x.shape
        side = min(self.side, height, width)
        places = (height - side + 1, width - side + 1)
        rate = self.probability * height * width / (side**2 * places[0] * places[1])
        corners = torch.empty(batch, *places, channels, dtype=torch.uint8, device=x.device).bernoulli_(rate)
        dropped = torch.zeros(batch, height, width, channels, dtype=torch.uint8, device=x.device)
        for row in range(side):  # much faster than a max pool over the corners
            for column in range(side):
                dropped[:, row : row + places[0], column : column + places[1]] |= corners
        kept = 1 - dropped.permute(0, 3, 1, 2)
        share = kept.sum(dtype=torch.float32).clamp(min=1) / kept.numel()
        return x * (kept / share).to(x.dtype)


def _convolution(inputs: int, width: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width))
