"""A convolutional patch embedding for small encoders trained from scratch."""

from __future__ import annotations

from torch import Tensor, nn


class ConvStem(nn.Module):
    """A convolutional patch embedding: each stage halves the grid ("Early Convolutions Help Transformers See Better").

    For small encoders trained from scratch. A residual block follows every stage after the first; the intermediate maps
    are returned for decoders that need finer detail than one token a patch.

    Args:
        channels: width after each halving; the patch is ``2 ** len(channels)`` pixels wide.
        in_channels: channels of the image.
    """

    def __init__(self, channels: tuple[int, ...], in_channels: int = 3) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        for index, out in enumerate(channels):
            down = _conv_bn(in_channels, out, stride=2)
            self.stages.append(nn.Sequential(down) if index == 0 else nn.Sequential(down, _Residual(out)))
            in_channels = out

    def forward(self, image: Tensor) -> list[Tensor]:
        """Maps an image [B, C, H, W] to its maps at strides 2, 4, 8, …, the last of them the patch embeddings."""
        maps = []
        for stage in self.stages:
            image = stage(image)
            maps.append(image)
        return maps


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = _conv_bn(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x)


def _conv_bn(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.GELU())
