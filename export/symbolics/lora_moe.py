"""The ONNX function body of ``rsvl::LoRAMoE``; `rsvl.ops.lora_moe` defines what it computes.

    LoRAMoE (x [..., Cin], weight [Cout, Cin], a [E, r, Cin], b [E, Cout, r], gate [..., E]) → y [..., Cout]

x, weight, a, b and y have one type, float32 or float16; gate may have the other and is converted. All dimensions but
Cin, Cout, E and r may be dynamic. Those of gate before its last are x's, or 1 where they broadcast.

The experts are two products, over all of their ranks at once, with the gates multiplied in between; the transposed
weights are constants to a runtime, which folds them when it loads the model. The second adds to the shared weight's
product (Gemm) rather than to a sum of its own. The body has no attributes and no size
written into it, so one body serves every such node of a graph, whatever its sizes: TensorRT's parser knows one function
of a name.
"""

from __future__ import annotations

from typing import Any

import onnx
from onnx import parser

_BODY = """
    weight_t = Transpose <perm = [1, 0]> (weight)
    x_rows = Flatten <axis = -1> (x)
    shared = MatMul (x_rows, weight_t)
    a_flat = Flatten <axis = 2> (a)
    a_t = Transpose <perm = [1, 0]> (a_flat)
    hidden = MatMul (x, a_t)
    patches = Shape <start = 0, end = -1> (x)
    ranks = Shape <start = 0, end = 2> (a)
    by_expert_shape = Concat <axis = 0> (patches, ranks)
    by_expert = Reshape (hidden, by_expert_shape)
    gate_like = CastLike (gate, hidden)
    last = Constant <value_ints = [-1]> ()
    gate_column = Unsqueeze (gate_like, last)
    gated_by_expert = Mul (by_expert, gate_column)
    hidden_shape = Shape (hidden)
    gated = Reshape (gated_by_expert, hidden_shape)
    b_by_rank = Transpose <perm = [0, 2, 1]> (b)
    b_flat = Flatten <axis = 2> (b_by_rank)
    gated_rows = Flatten <axis = -1> (gated)
    y_rows = Gemm (gated_rows, b_flat, shared)
    out_channels = Shape <start = 0, end = 1> (weight)
    y_shape = Concat <axis = 0> (patches, out_channels)
    y = Reshape (y_rows, y_shape)
"""


def function(attributes: dict[str, Any], opset: int, half: bool) -> onnx.FunctionProto:
    """Builds the body; the node has no attributes, and the body is the same in half precision."""
    return parser.parse_function(
        f'<domain: "rsvl", opset_import: ["": {opset}]> LoRAMoE (x, weight, a, b, gate) => (y) {{{_BODY}}}'
    )
