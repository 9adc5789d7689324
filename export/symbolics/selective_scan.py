"""The ONNX function body of ``rsvl::SelectiveScan``; `rsvl.ops.selective_scan` defines what it computes.

    SelectiveScan (x [B, D, L], dt [B, D, L], A [D, N], B [B, N, L], C [B, N, L], D [D]) → y [B, D, L]

Every tensor is float32 or float16, in any mixture: all is computed in float32, y has the dtype of x. B and L may be
dynamic, and no size is written into the body, so one body serves every such node of a graph.

One Scan over the tokens, which carries the state as ``[B, N, D]``: with the channels last, what broadcasts over the
states is a whole row, and on a CPU a step takes half the time that it takes with the states last. A is carried too, as
a second state that does not change: OpenVINO does not find a name of the outer graph inside a Scan. A running sum of
dt·A in log space would need no Scan, but its exponentials overflow, in chunks of eight tokens already.
"""

from __future__ import annotations

from typing import Any

import onnx
from onnx import parser

_BODY = """
    x_32 = Cast <to = 1> (x)
    dt_32 = Cast <to = 1> (dt)
    A_32 = Cast <to = 1> (A)
    B_32 = Cast <to = 1> (B)
    C_32 = Cast <to = 1> (C)
    D_32 = Cast <to = 1> (D)
    one = Constant <value_ints = [1]> ()
    two = Constant <value_ints = [2]> ()
    three = Constant <value_ints = [3]> ()

    dt_tokens = Transpose <perm = [2, 0, 1]> (dt_32)
    dt_rows = Unsqueeze (dt_tokens, two)
    entering = Mul (dt_32, x_32)
    entering_tokens = Transpose <perm = [2, 0, 1]> (entering)
    entering_rows = Unsqueeze (entering_tokens, two)
    B_tokens = Transpose <perm = [2, 0, 1]> (B_32)
    B_columns = Unsqueeze (B_tokens, three)
    C_tokens = Transpose <perm = [2, 0, 1]> (C_32)
    C_rows = Unsqueeze (C_tokens, two)

    rates = Transpose <perm = [1, 0]> (A_32)
    batch = Shape <start = 0, end = 1> (x)
    rates_shape = Shape (rates)
    state_shape = Concat <axis = 0> (batch, rates_shape)
    first = ConstantOfShape (state_shape)
    last, same_rates, y_rows = Scan <num_scan_inputs = 4, body = step (
            float[B, N, D] state, float[N, D] rate,
            float[B, one, D] dt_t, float[B, one, D] entering_t, float[B, N, one] B_t, float[B, one, N] C_t
        ) => (float[B, N, D] next, float[N, D] rate_again, float[B, one, D] y_t) {
            exponent = Mul (dt_t, rate)
            decay = Exp (exponent)
            kept = Mul (state, decay)
            added = Mul (B_t, entering_t)
            next = Add (kept, added)
            rate_again = Identity (rate)
            y_t = MatMul (C_t, next)
        }> (first, rates, dt_rows, entering_rows, B_columns, C_rows)

    y_tokens = Squeeze (y_rows, two)
    read = Transpose <perm = [1, 2, 0]> (y_tokens)
    D_column = Unsqueeze (D_32, one)
    through = Mul (x_32, D_column)
    y_32 = Add (read, through)
    y = CastLike (y_32, x)
"""


def function(attributes: dict[str, Any], opset: int, half: bool) -> onnx.FunctionProto:
    """Builds the body; the node has no attributes, and the body is the same in half precision."""
    return parser.parse_function(
        f'<domain: "rsvl", opset_import: ["": {opset}]> SelectiveScan (x, dt, A, B, C, D) => (y) {{{_BODY}}}'
    )
