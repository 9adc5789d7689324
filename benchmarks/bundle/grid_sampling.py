"""The rotated convolution as CD2FSAN's section 3.5 writes it: each base kernel rotated by bilinear grid sampling."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rsvl.modules.layers.rotated_conv import RotatedConv2d
from rsvl.runtime.errors import UsageError


class GridSampledConv2d(nn.Module):
    """A `RotatedConv2d` computed as the paper writes it; the same function of the same kernels."""

    def __init__(self, layer: RotatedConv2d) -> None:
        super().__init__()
        if layer.mode != "bilinear":
            raise UsageError(f"grid sampling is the form of mode 'bilinear', not {layer.mode!r}: measure without it")
        self.weight = nn.Parameter(layer.weight.detach().contiguous())

    def forward(self, x: Tensor, theta: Tensor, gate: Tensor) -> Tensor:
        """Convolves x [B, Cin, H, W] by theta (radians) and gate [B, n] → [B, Cout, H, W]."""
        bases, out_channels, in_channels, k, _ = self.weight.shape
        batch, _, height, width = x.shape
        cos, sin, zero = theta.cos(), theta.sin(), torch.zeros_like(theta)
        matrix = torch.stack([cos, -sin, zero, sin, cos, zero], dim=-1).view(batch * bases, 2, 3)
        grid = F.affine_grid(matrix, [batch * bases, 1, k, k], align_corners=True)
        kernels = self.weight.flatten(1, 2).expand(batch, -1, -1, -1, -1).flatten(0, 1)
        rotated = F.grid_sample(kernels, grid, padding_mode="zeros", align_corners=True)
        mixed = (rotated.unflatten(0, (batch, bases)) * gate[..., None, None, None]).sum(dim=1)
        mixed = mixed.view(batch * out_channels, in_channels, k, k)
        y = F.conv2d(x.reshape(1, -1, height, width), mixed, padding=k // 2, groups=batch)
        return y.view(batch, out_channels, height, width)


def grid_sampled(model: nn.Module) -> nn.Module:
    """A copy of a model with every rotated convolution in the paper's form.

    Raises:
        UsageError: a rotated convolution in mode ``arc``, which is not grid sampling.
    """
    model = copy.deepcopy(model)
    for name, layer in list(model.named_modules()):
        if isinstance(layer, RotatedConv2d):
            model.set_submodule(name, GridSampledConv2d(layer))
    return model
