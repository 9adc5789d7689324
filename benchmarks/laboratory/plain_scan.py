"""The recurrence of `rsvl.ops.selective_scan` as one ONNX Scan that follows its definition, with fixed sizes."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper, parser

_GRAPH = """
<ir_version: 10, opset_import: ["": 20]>
scan (float[1,{d},{l}] x, float[1,{d},{l}] dt, float[1,{n},{l}] B, float[1,{n},{l}] C) => (float[1,{d},{l}] y)
<float[{d},{n}] A, float[{d}] D> {{
    one = Constant <value_ints = [1]> ()
    three = Constant <value_ints = [3]> ()
    entering = Mul (dt, x)
    dt_tokens = Transpose <perm = [2, 0, 1]> (dt)
    dt_columns = Unsqueeze (dt_tokens, three)
    entering_tokens = Transpose <perm = [2, 0, 1]> (entering)
    entering_columns = Unsqueeze (entering_tokens, three)
    B_tokens = Transpose <perm = [2, 0, 1]> (B)
    C_tokens = Transpose <perm = [2, 0, 1]> (C)
    state_shape = Constant <value_ints = [1, {d}, {n}]> ()
    first = ConstantOfShape (state_shape)
    last, same_rates, y_tokens = Scan <num_scan_inputs = 4, body = step (
            float[1,{d},{n}] state, float[{d},{n}] rate,
            float[1,{d},1] dt_t, float[1,{d},1] entering_t, float[1,{n}] B_t, float[1,{n}] C_t
        ) => (float[1,{d},{n}] next, float[{d},{n}] rate_again, float[1,{d}] y_t) {{
            row = Constant <value_ints = [1]> ()
            last_axis = Constant <value_ints = [2]> ()
            exponent = Mul (dt_t, rate)
            decay = Exp (exponent)
            kept = Mul (state, decay)
            B_row = Unsqueeze (B_t, row)
            added = Mul (entering_t, B_row)
            next = Add (kept, added)
            rate_again = Identity (rate)
            C_column = Unsqueeze (C_t, last_axis)
            y_column = MatMul (next, C_column)
            y_t = Squeeze (y_column, last_axis)
        }}> (first, A, dt_columns, entering_columns, B_tokens, C_tokens)
    read = Transpose <perm = [1, 2, 0]> (y_tokens)
    D_column = Unsqueeze (D, one)
    through = Mul (x, D_column)
    y = Add (read, through)
}}
"""


def plain_scan(length: int, A: np.ndarray, D: np.ndarray) -> onnx.ModelProto:
    """The recurrence for one sample: the state as ``[1, D, N]``, A carried as a second state.

    Args:
        length: of the sequence, L.
        A: decay rates ``[D, N]``, float32.
        D: what of the token itself is added ``[D]``, float32.

    Returns:
        x, dt ``[1, D, L]``, B and C ``[1, N, L]`` → y ``[1, D, L]``.
    """
    channels, states = A.shape
    model = parser.parse_model(_GRAPH.format(d=channels, n=states, l=length))
    model.graph.initializer.extend([numpy_helper.from_array(A, "A"), numpy_helper.from_array(D, "D")])
    onnx.checker.check_model(model, full_check=True)
    return model
