"""A layer that holds the base kernels of `rsvl.ops.rotated_conv2d`; its caller predicts the angles and gates."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rsvl.ops import rotated_conv2d


class RotatedConv2d(nn.Module):
    """n base kernels, rotated and summed for each sample, applied as a "same" convolution without bias.

    Attributes:
        taps: the base kernels ``[n, k, k, Cout, Cin]``: taps first, because the rotation mixes taps and this order
            spares it a transpose. The state-dict key is ``taps``.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int = 3, bases: int = 3, mode: str = "bilinear"
    ) -> None:
        """Kernels start from the He normal distribution (fan out), as the adaptive rotated convolution's do."""
        super().__init__()
        self.mode = mode
        self.taps = nn.Parameter(torch.empty(bases, kernel_size, kernel_size, out_channels, in_channels))
        self.reset_parameters()

    @property
    def weight(self) -> Tensor:
        """The base kernels as `rotated_conv2d` takes them, ``[n, Cout, Cin, k, k]``: a view of `taps`."""
        return self.taps.permute(0, 3, 4, 1, 2)

    def reset_parameters(self) -> None:
        """Draws the base kernels anew."""
        fan_out = self.taps.shape[1] * self.taps.shape[2] * self.taps.shape[3]
        nn.init.normal_(self.taps, std=(2 / fan_out) ** 0.5)

    def forward(self, x: Tensor, theta: Tensor, gate: Tensor) -> Tensor:
        """Applies the layer: x ``[B, Cin, H, W]``, theta (radians) and gate ``[B, n]`` → ``[B, Cout, H, W]``."""
        return rotated_conv2d(x, self.weight, theta, gate, self.mode)

    def extra_repr(self) -> str:
        """Sizes for `print(module)`."""
        n, k, _, out_channels, in_channels = self.taps.shape
        return f"{in_channels}, {out_channels}, kernel_size={k}, bases={n}, mode={self.mode!r}"
