r"""`rsvl::RotatedConv2d`: a convolution whose kernels are rotated by angles predicted for each sample.

CD2FSAN, section 3.5 (``W(b) = sum_i gate_i · Rot(W_i, theta_i)``), and the adaptive rotated convolution of RMSIN and
CADFormer. Turning a k×k kernel is a linear map of its k² taps, the same for every pair of channels, so a sample's
kernel is one small matrix product, ``[k², n·k²] × [n·k², Cout·Cin]``; what follows is an ordinary convolution.

**Definition.** A kernel has its taps at the integer points ``p = (x, y)``, ``x`` to the right and ``y`` down as in
images, ``-r ≤ x, y ≤ r``, ``r = k // 2``; the centre tap is the origin. The rotated kernel's tap at ``p`` is the base
kernel read at

    ``q = (x·cos θ - y·sin θ,  x·sin θ + y·cos θ)``

so a positive θ (radians) rotates the kernel's pattern **counter-clockwise as displayed**: at θ = 90° the tap that was
on the right is at the top. Reading between taps is bilinear. The modes differ only where ``q`` is outside the k×k
square:

- ``bilinear`` (CD2FSAN): taps outside are zero, as ``affine_grid`` + ``grid_sample(align_corners=True,
  padding_mode="zeros")`` do. Any odd k and any θ.
- ``arc`` (RMSIN, CADFormer; public code LeapLabTHU/ARC): ``q`` is first moved to the nearest point of the square, so
  that corner taps move along its border and the weights of each tap sum to 1. For ``|θ| ≤ 45°`` this is exactly that
  code's pair of matrices for positive and negative angles (mirror images of each other). Beyond 45°, which those
  models never reach (softsign × 40°), that code extrapolates; here the definition above holds. 3×3 kernels only.

The convolution itself is a cross-correlation (as `torch.nn.functional.conv2d`), stride 1, with zero padding k // 2: the
output has the input's height and width. A bilinear read has kinks where ``q`` crosses a tap; the derivative by θ there
is the mean of both sides, so that a routing network that starts at θ = 0 does learn.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from rsvl.runtime.errors import UsageError

MODES = ("bilinear", "arc")


def rotation_matrix(theta: Tensor, k: int, mode: str = "bilinear") -> Tensor:
    """The linear map of a k×k kernel's taps (row-major) that rotates it by each angle; the module defines it.

    Args:
        theta: angles in radians, any shape, positive counter-clockwise. Below float32 they are computed in float32.
        k: kernel size, odd.
        mode: ``bilinear`` or ``arc``.

    Returns:
        ``[*theta.shape, k², k²]`` float32 (float64 for float64 angles): one row a tap of
        the rotated kernel, one column per tap of the base kernel.

    Raises:
        UsageError: an unknown mode, an even k, or ``arc`` with k other than 3.
    """
    _check_kernel(k, mode)
    theta = theta.to(torch.promote_types(theta.dtype, torch.float32))
    r = k // 2
    axis = torch.arange(-r, r + 1, device=theta.device, dtype=theta.dtype)
    y, x = (grid.reshape(-1) for grid in torch.meshgrid(axis, axis, indexing="ij"))
    cos, sin = theta.cos().unsqueeze(-1), theta.sin().unsqueeze(-1)
    qx, qy = x * cos - y * sin, x * sin + y * cos  # [..., k²]
    if mode == "arc":
        qx, qy = qx.clamp(-r, r), qy.clamp(-r, r)
    return _hat(qx.unsqueeze(-1) - x) * _hat(qy.unsqueeze(-1) - y)


def _hat(distance: Tensor) -> Tensor:
    """The bilinear weight max(0, 1 - |distance|). `maximum` halves the gradient at a tie: the mean of both sides."""
    return torch.maximum(1 - distance.abs(), distance.new_zeros(()))


def rotated_conv2d(x: Tensor, weight: Tensor, theta: Tensor, gate: Tensor, mode: str = "bilinear") -> Tensor:
    """Convolves each sample with the gated sum of n base kernels rotated by its own angles; the module defines it.

    Differentiable in every tensor (twice, too). Inside `torch.onnx.export` it becomes one node ``rsvl::RotatedConv2d``
    with inputs x, taps ``[n, k, k, Cout, Cin]``, theta, gate and attributes ``mode`` and ``kernel_size``; its body is
    in `rsvl.export.symbolics.rotated_conv`. A `weight` that is a permuted view of contiguous taps spares a copy.

    Args:
        x: input ``[B, Cin, H, W]``, floating point.
        weight: base kernels ``[n, Cout, Cin, k, k]``, k odd. The combined kernel is converted to x's dtype.
        theta: angles in radians ``[B, n]``; sines and the rotation are computed in float32 at least.
        gate: the weight of each base ``[B, n]``, any real value.
        mode: ``bilinear`` (any odd k) or ``arc`` (k = 3).

    Returns:
        ``[B, Cout, H, W]`` in x's dtype; under autocast in the dtype that autocast gives a convolution.

    Raises:
        UsageError: shapes that do not fit each other, a dtype that is not floating point, an unknown mode, an even k,
            or ``arc`` with k other than 3.

    Examples:
        A quarter turn takes the right tap to the top, so the output is the pixel above.

        >>> kernel = torch.zeros(1, 1, 1, 3, 3)
        >>> kernel[..., 1, 2] = 1
        >>> x = torch.arange(9.0).view(1, 1, 3, 3)
        >>> rotated_conv2d(x, kernel, torch.full((1, 1), torch.pi / 2), torch.ones(1, 1)).round()[0, 0].tolist()
        [[0.0, 0.0, 0.0], [0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    """
    _check(x, weight, theta, gate, mode)
    if torch.onnx.is_in_onnx_export():
        return torch.onnx.ops.symbolic(
            "rsvl::RotatedConv2d",
            (x, weight.permute(0, 3, 4, 1, 2), theta, gate),
            {"mode": mode, "kernel_size": weight.shape[3]},
            dtype=x.dtype,
            shape=(x.shape[0], weight.shape[1], x.shape[2], x.shape[3]),
            version=1,
        )
    return torch.ops.rsvl.rotated_conv2d(x, weight, theta, gate, mode)


def _rotated_conv2d(x: Tensor, weight: Tensor, theta: Tensor, gate: Tensor, mode: str) -> Tensor:
    n, out_channels, in_channels, k, _ = weight.shape
    batch, _, height, width = x.shape
    rotation = rotation_matrix(theta, k, mode) * gate[..., None, None]  # [B, n, k², k²]
    rotation = rotation.transpose(1, 2).reshape(batch * k * k, n * k * k)
    taps = weight.permute(0, 3, 4, 1, 2).reshape(n * k * k, out_channels * in_channels)
    kernels = (rotation.to(weight.dtype) @ taps).view(batch, k * k, out_channels, in_channels)
    kernels = kernels.permute(0, 2, 3, 1).reshape(batch * out_channels, in_channels, k, k).to(x.dtype)
    # The batch as groups: on CPUs faster, forward and backward, than a loop, and than im2col and a matrix product.
    out = F.conv2d(x.reshape(1, batch * in_channels, height, width), kernels, padding=k // 2, groups=batch)
    return out.view(batch, out_channels, height, width)


# Composite implicit: autograd, autocast, shape inference and torch.compile follow from the operations it is made of.
torch.library.define("rsvl::rotated_conv2d", "(Tensor x, Tensor weight, Tensor theta, Tensor gate, str mode) -> Tensor")
torch.library.impl("rsvl::rotated_conv2d", "CompositeImplicitAutograd", _rotated_conv2d)


def _check_kernel(k: int, mode: str) -> None:
    if mode not in MODES:
        raise UsageError(f"rotated_conv2d: unknown mode {mode!r}: use one of {', '.join(MODES)}")
    if k % 2 == 0:
        raise UsageError(f"rotated_conv2d: kernel size {k} is even: kernels rotate about a centre tap, use an odd size")
    if mode == "arc" and k != 3:
        raise UsageError(f"rotated_conv2d: mode 'arc' is defined for 3x3 kernels, not {k}x{k}: use mode 'bilinear'")


def _check(x: Tensor, weight: Tensor, theta: Tensor, gate: Tensor, mode: str) -> None:
    tensors = {"x": x, "weight": weight, "theta": theta, "gate": gate}
    shapes = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in tensors.items())
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise UsageError(f"rotated_conv2d: {name} is {tensor.dtype}: give floating-point tensors")
    if x.dim() != 4 or weight.dim() != 5 or weight.shape[3] != weight.shape[4]:
        raise UsageError(f"rotated_conv2d: expected x [B, Cin, H, W] and weight [n, Cout, Cin, k, k], got {shapes}")
    if x.shape[1] != weight.shape[2]:
        raise UsageError(f"rotated_conv2d: x's channels are not the weight's input channels: {shapes}")
    expected = (x.shape[0], weight.shape[0])
    if tuple(theta.shape) != expected or tuple(gate.shape) != expected:
        raise UsageError(f"rotated_conv2d: theta and gate must be [B, n] = {list(expected)}, got {shapes}")
    _check_kernel(weight.shape[3], mode)
