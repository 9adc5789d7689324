"""Small convolutional blocks that models share."""

from __future__ import annotations

from torch import nn


def separable(channels_in: int, channels: int, kernel: tuple[int, int], dilation: int = 1) -> nn.Sequential:
    """Depthwise separable convolution, batch norm, GELU; keeps height and width."""
    padding = (dilation * (kernel[0] // 2), dilation * (kernel[1] // 2))
    depthwise = nn.Conv2d(
        channels_in, channels_in, kernel, padding=padding, dilation=dilation, groups=channels_in, bias=False
    )
    return nn.Sequential(
        depthwise, nn.Conv2d(channels_in, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.GELU()
    )
