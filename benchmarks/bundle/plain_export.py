"""What one gets without rsvl's export: the paper's own form of the rotated convolution, the whole model in one graph.

Section 3.5 of CD2FSAN turns each base kernel by an affine grid and bilinear grid sampling. `torch.onnx.export` writes
that as it is: one GridSample over all channel pairs of every base, in one graph that takes the image and the sentence
together. It is what the bundle's latency is measured against.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rsvl.export.graphs import quiet_exporter
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
        turned = F.grid_sample(kernels, grid, padding_mode="zeros", align_corners=True)
        mixed = (turned.unflatten(0, (batch, bases)) * gate[..., None, None, None]).sum(dim=1)
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


def export_plainly(model: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str], path: Path) -> None:
    """Writes a module as one ONNX graph of fixed sizes, by `torch.onnx.export`'s defaults.

    Args:
        model: takes the inputs in their order, gives a tensor or a tuple of them.
        inputs: by name.
        outputs: names of what it gives.
        path: the file to write.

    Raises:
        UsageError: an operation that has no plain form.
    """
    with torch.no_grad(), quiet_exporter():
        torch.onnx.export(
            grid_sampled(model).eval(),
            tuple(inputs.values()),
            str(path),
            dynamo=True,
            input_names=list(inputs),
            output_names=list(outputs),
            verbose=False,
        )
    own = {node.op_type for node in onnx.load(path, load_external_data=False).graph.node if node.domain == "rsvl"}
    if own:
        raise UsageError(f"{', '.join(sorted(own))} has no plain form: measure without it")
