"""The ONNX function body of ``rsvl::Softplus``: log(1 + exp(x)) for each element, without a logarithm.

    Softplus (x […], float32) → y […]

ONNX Runtime computes ONNX's own Softplus on a CPU element by element with the C library's functions; products, sums and
exponentials it computes sixteen at a time. With ``e = exp(-|x|)`` and ``s = e / (2 + e)``,

    ``log(1 + exp(x)) = max(x, 0) + log(1 + e)`` and ``log(1 + e) = 2·artanh(s) = s·P(s²)``

where s² is at most 1/9, so that a P of degree 4 is exact to float32. Nothing cancels: the relative error is 3e-7 for
every x, and nothing overflows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.polynomial import Chebyshev, Polynomial
from onnx import parser

_DEGREE = 4


def coefficients() -> np.ndarray:
    """P's, the constant one first: 2·artanh(√z) / √z for z in 0…1/9, interpolated in Chebyshev's points."""
    fitted = Chebyshev.interpolate(lambda z: 2 * np.arctanh(np.sqrt(z)) / np.sqrt(z), _DEGREE, [0, 1 / 9])
    return np.asarray(fitted.convert(kind=Polynomial).coef)


def function(attributes: dict[str, Any], opset: int, half: bool) -> onnx.FunctionProto:
    """Builds the body; the node has no attributes."""
    lines = [f"c_{power} = Constant <value_float = {c:.9f}> ()" for power, c in enumerate(coefficients())]
    polynomial = f"c_{_DEGREE}"
    for power in reversed(range(_DEGREE)):
        lines += [f"times_{power} = Mul (square, {polynomial})", f"sum_{power} = Add (times_{power}, c_{power})"]
        polynomial = f"sum_{power}"
    body = f"""
        two = Constant <value_float = 2.0> ()
        size = Abs (x)
        negative = Neg (size)
        e = Exp (negative)
        e_and_two = Add (e, two)
        s = Div (e, e_and_two)
        square = Mul (s, s)
        {" ".join(lines)}
        logarithm = Mul (s, {polynomial})
        positive = Relu (x)
        y = Add (positive, logarithm)
    """
    return parser.parse_function(f'<domain: "rsvl", opset_import: ["": {opset}]> Softplus (x) => (y) {{{body}}}')
