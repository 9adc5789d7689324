"""The ONNX function bodies of ``rsvl::PatchLoRAMoE``; `rsvl.ops.patch_lora_moe` defines what it computes.

    PatchLoRAMoE (x [P, C, h, w], up [E, C, r], down [E, r, C], gate [P, E]) → y [P, C, h, w]

Attributes: ``experts`` (int, E) and ``merged`` (int, 1: an expert's two factors are multiplied out when the model is
loaded, else 0). x, up, down and y have one type, float32 or float16; gate may have the other and is converted.

There are two bodies. In `function` each expert gets the patches whose gates choose it: which ones follows from the
gates' values, and so do the shapes between. It computes in float32: ONNX Runtime adds no float16 at indices on the CPU,
which multiplies none either. `fixed_shapes` computes all experts and multiplies by the gates. TensorRT
must know the shapes beforehand; its parser takes the first function of a name, while ONNX Runtime takes the one whose
overload the node names.
"""

from __future__ import annotations

from typing import Any

import onnx
from onnx import parser

_CHOSEN = """
    patches_channels = Shape <start = 0, end = 2> (x)
    minus_one = Constant <value_ints = [-1]> ()
    zero = Constant <value_ints = [0]> ()
    one = Constant <value_ints = [1]> ()
    flat_shape = Concat <axis = 0> (patches_channels, minus_one)
    x_wide = Cast <to = 1> (x)
    flat = Reshape (x_wide, flat_shape)
    rows = Transpose <perm = [0, 2, 1]> (flat)
    by_expert = Transpose <perm = [1, 0]> (gate)
    bool_type = Cast <to = 9> (by_expert)
    places = NonZero (bool_type)
    ones = Cast <to = 7> (bool_type)
    counts = ReduceSum <keepdims = 0> (ones, one)
    experts_of, patches_of = Split <axis = 0, num_outputs = 2> (places)
    patch = Reshape (patches_of, minus_one)
    patch_index = Unsqueeze (patch, minus_one)
    gate_index = Transpose <perm = [1, 0]> (places)
    gates = GatherND (by_expert, gate_index)
    gates_wide = Cast <to = 1> (gates)
    last_two = Constant <value_ints = [1, 2]> ()
    gates_column = Unsqueeze (gates_wide, last_two)
    up_wide = Cast <to = 1> (up)
    down_wide = Cast <to = 1> (down)
"""

_SUM = """
    sum = ScatterND <reduction = "add"> (rows, patch_index, added)
    sum_flat = Transpose <perm = [0, 2, 1]> (sum)
    x_shape = Shape (x)
    y_wide = Reshape (sum_flat, x_shape)
    y = CastLike (y_wide, x)
"""

_ALL = """
    minus_one = Constant <value_ints = [-1]> ()
    one = Constant <value_ints = [1]> ()
    channels = Shape <start = 1, end = 2> (x)
    down_shape = Concat <axis = 0> (minus_one, channels, one, one)
    down_kernel = Reshape (down, down_shape)
    up_by_channel = Transpose <perm = [1, 0, 2]> (up)
    up_shape = Concat <axis = 0> (channels, minus_one, one, one)
    up_kernel = Reshape (up_by_channel, up_shape)
    narrow = Conv (x, down_kernel)
    patches = Shape <start = 0, end = 1> (x)
    experts = Shape <start = 0, end = 1> (up)
    cells = Shape <start = 2, end = 4> (x)
    by_expert_shape = Concat <axis = 0> (patches, experts, minus_one, cells)
    by_expert = Reshape (narrow, by_expert_shape)
    gate_like = CastLike (gate, x)
    last_three = Constant <value_ints = [2, 3, 4]> ()
    gate_cells = Unsqueeze (gate_like, last_three)
    gated_by_expert = Mul (by_expert, gate_cells)
    narrow_shape = Shape (narrow)
    gated = Reshape (gated_by_expert, narrow_shape)
    added = Conv (gated, up_kernel)
    y = Add (x, added)
"""


def function(attributes: dict[str, Any], opset: int, half: bool) -> onnx.FunctionProto:
    """Builds the body that computes the chosen experts alone."""
    experts = range(attributes["experts"])
    lines = [
        _CHOSEN,
        *_split("own", "patch", experts, "counts"),
        *_split("gates_of", "gates_column", experts, "counts"),
    ]
    lines += _merged(experts) if attributes["merged"] else _in_turn(experts)
    lines += [f"added = Concat <axis = 0> ({_names('added', experts)})", _SUM]
    return _function("\n".join(lines), opset)


def fixed_shapes(opset: int) -> onnx.FunctionProto:
    """Builds the body that computes all experts."""
    body = _function(_ALL, opset)
    body.overload = "fixed_shapes"
    return body


def _merged(experts: range) -> list[str]:
    lines = ["both = MatMul (up_wide, down_wide)", "weights = Transpose <perm = [0, 2, 1]> (both)"]
    lines += _weights("weight", "weights", experts)
    for e in experts:
        lines += [
            f"seen_{e} = Gather <axis = 0> (rows, own_{e})",
            f"wide_{e} = MatMul (seen_{e}, weight_{e})",
            f"added_{e} = Mul (wide_{e}, gates_of_{e})",
        ]
    return lines


def _in_turn(experts: range) -> list[str]:
    lines = ["downs = Transpose <perm = [0, 2, 1]> (down_wide)", "ups = Transpose <perm = [0, 2, 1]> (up_wide)"]
    lines += [*_weights("down", "downs", experts), *_weights("up", "ups", experts)]
    for e in experts:
        lines += [
            f"seen_{e} = Gather <axis = 0> (rows, own_{e})",
            f"narrow_{e} = MatMul (seen_{e}, down_{e})",
            f"gated_{e} = Mul (narrow_{e}, gates_of_{e})",
            f"added_{e} = MatMul (gated_{e}, up_{e})",
        ]
    return lines


def _weights(name: str, stacked: str, experts: range) -> list[str]:
    """Each expert's matrix of a stack [E, …]."""
    split = f"{_names(name + '_of', experts)} = Split <axis = 0, num_outputs = {len(experts)}> ({stacked})"
    return [split, *(f"{name}_{e} = Squeeze ({name}_of_{e}, zero)" for e in experts)]


def _split(name: str, whole: str, experts: range, counts: str) -> list[str]:
    return [f"{_names(name, experts)} = Split <axis = 0> ({whole}, {counts})"]


def _names(name: str, experts: range) -> str:
    return ", ".join(f"{name}_{e}" for e in experts)


def _function(body: str, opset: int) -> onnx.FunctionProto:
    return parser.parse_function(
        f'<domain: "rsvl", opset_import: ["": {opset}]> '
        f"PatchLoRAMoE <experts, merged> (x, up, down, gate) => (y) {{{body}}}"
    )
