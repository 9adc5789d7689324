"""The ONNX function body of ``rsvl::RotatedConv2d``; `rsvl.ops.rotated_conv` defines what it computes.

    RotatedConv2d <mode: string, kernel_size: int>
        (x [B, Cin, H, W], taps [n, k, k, Cout, Cin], theta [B, n], gate [B, n]) → y [B, Cout, H, W]

Every tensor is float32 or float16, in any mixture: angles and the rotation are computed in float32, the kernels are
mixed in the dtype of `taps`, the convolution and y have the dtype of `x`. B, H and W may be dynamic.

A convolution by kernels that are known only at run time, others for each sample, is no Conv: with the batch folded into
groups it does not parse with a dynamic batch in TensorRT, with run-time weights it serves a batch of 1 only. So it is
matrix products: for 3×3 kernels in Winograd's form (`winograd.py`), for others k² shifted views of the padded input,
concatenated to ``[B, k²·Cin, H·W]``, and one batched product with the samples' kernels.

The number of views and the tap positions depend on k, and loops do not suit TensorRT, so the body is written out for
the node's attributes. It keeps the model's own opset, 18 or later (`torch.onnx.export` writes 20 by default).
"""

from __future__ import annotations

from typing import Any

import onnx
from onnx import parser

from rsvl.export.symbolics import winograd

_TO_THE_END = 2**31 - 1


def function(attributes: dict[str, Any], opset: int, half: bool) -> onnx.FunctionProto:
    """Builds the body.

    Args:
        attributes: the node's, ``mode`` (``bilinear`` or ``arc``) and ``kernel_size``.
        opset: the model's.
        half: whether any tensor of the graph is float16.
    """
    k = int(attributes["kernel_size"])
    if k == winograd.KERNEL_SIZE:
        form = winograd.HALF if half else winograd.SINGLE
        convolution = winograd.rotated_kernels(form) + winograd.convolve(form)
    else:
        convolution = _kernels(k) + _convolve(k)
    body = _turn(k, attributes["mode"]) + convolution
    return parser.parse_function(
        f'<domain: "rsvl", opset_import: ["": {opset}]> '
        f"RotatedConv2d <mode, kernel_size> (x, taps, theta, gate) => (y) {{{body}}}"
    )


def _turn(k: int, mode: str) -> str:
    """From theta and gate to `turn` [B, k², n·k²]: each sample's gated map from all bases' taps to its kernel's."""
    radius = float(k // 2)
    to_square = f"low = Constant <value_float = -{radius}> () high = Constant <value_float = {radius}> ()"
    read_at = {
        "bilinear": "qx = Identity (rx) qy = Identity (ry)",
        "arc": f"{to_square} qx = Clip (rx, low, high) qy = Clip (ry, low, high)",
    }
    return f"""
        tap_x = Constant <value_floats = [{", ".join(str(i % k - radius) for i in range(k * k))}]> ()
        tap_y = Constant <value_floats = [{", ".join(str(i // k - radius) for i in range(k * k))}]> ()
        one = Constant <value_float = 1.0> ()
        last = Constant <value_ints = [-1]> ()
        last_two = Constant <value_ints = [-2, -1]> ()
        theta_32 = Cast <to = 1> (theta)
        angle = Unsqueeze (theta_32, last)
        cos = Cos (angle)
        sin = Sin (angle)
        x_cos = Mul (tap_x, cos)
        y_sin = Mul (tap_y, sin)
        x_sin = Mul (tap_x, sin)
        y_cos = Mul (tap_y, cos)
        rx = Sub (x_cos, y_sin)
        ry = Add (x_sin, y_cos)
        {read_at[mode]}
        qx_column = Unsqueeze (qx, last)
        qy_column = Unsqueeze (qy, last)
        dx = Sub (qx_column, tap_x)
        dy = Sub (qy_column, tap_y)
        dx_abs = Abs (dx)
        dy_abs = Abs (dy)
        near_x = Sub (one, dx_abs)
        near_y = Sub (one, dy_abs)
        hat_x = Relu (near_x)
        hat_y = Relu (near_y)
        rotation = Mul (hat_x, hat_y)
        gate_32 = Cast <to = 1> (gate)
        gate_4d = Unsqueeze (gate_32, last_two)
        gated = Mul (rotation, gate_4d)
        gated_by_tap = Transpose <perm = [0, 2, 1, 3]> (gated)
        turn_shape = Constant <value_ints = [0, {k * k}, -1]> ()
        turn = Reshape (gated_by_tap, turn_shape)
    """


def _kernels(k: int) -> str:
    """From `turn` and taps to `kernels` [B, Cout, k²·Cin], the order of the shifted views."""
    return f"""
        turn_like_taps = CastLike (turn, taps)
        bases = Flatten <axis = 3> (taps)
        mixed = MatMul (turn_like_taps, bases)
        channels = Shape <start = 3> (taps)
        batch_and_taps = Constant <value_ints = [0, {k * k}]> ()
        mixed_shape = Concat <axis = 0> (batch_and_taps, channels)
        mixed_4d = Reshape (mixed, mixed_shape)
        mixed_by_out = Transpose <perm = [0, 2, 1, 3]> (mixed_4d)
        merge_last = Constant <value_ints = [0, 0, -1]> ()
        mixed_flat = Reshape (mixed_by_out, merge_last)
        kernels = CastLike (mixed_flat, x)
    """


def _convolve(k: int) -> str:
    """From x and `kernels` to y."""
    views = "".join(
        f"""
        start_{dy}_{dx} = Constant <value_ints = [{dy}, {dx}]> ()
        end_{dy}_{dx} = Constant <value_ints = [{_end(dy, k)}, {_end(dx, k)}]> ()
        view_{dy}_{dx} = Slice (padded, start_{dy}_{dx}, end_{dy}_{dx}, last_two)
        """
        for dy in range(k)
        for dx in range(k)
    )
    names = ", ".join(f"view_{dy}_{dx}" for dy in range(k) for dx in range(k))
    pads = f"0, 0, {k // 2}, {k // 2}"
    return f"""
        pads = Constant <value_ints = [{pads}, {pads}]> ()
        padded = Pad (x, pads)
        {views}
        views = Concat <axis = 1> ({names})
        columns = Reshape (views, merge_last)
        y_flat = MatMul (kernels, columns)
        batch_and_out = Constant <value_ints = [0, 0]> ()
        size = Shape <start = 2> (x)
        y_shape = Concat <axis = 0> (batch_and_out, size)
        y = Reshape (y_flat, y_shape)
    """


def _end(start: int, k: int) -> int:
    """Where a view that begins at `start` of a padded axis ends, counted from the axis's end."""
    return start - (k - 1) or _TO_THE_END
