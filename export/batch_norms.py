"""Batch norms folded into the convolutions before them.

The exporter's own optimizer does that where only one node reads the weights. A module that runs twice (CD2FSAN's IMC)
keeps its batch norms, and in int8 ONNX Runtime does not fold them either: quantize nodes stand between the two.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

_EPSILON = 1e-5  # ONNX's own, where a node has none


def fold_batch_norms(graph: ir.Graph) -> None:
    """Folds batch norms in place, wherever all nodes that read a weight are convolutions with the same norm after."""
    for weight in list(graph.initializers.values()):
        pairs = [(use.node, _norm_after(use.node)) for use in weight.uses() if use.idx == 1]
        if not pairs or len(pairs) < len(weight.uses()):
            continue
        (first, norm), *others = pairs
        alike = all(other is not None and _constants(conv, other) == _constants(first, norm) for conv, other in others)
        if norm is None or not alike or any(value.const_value is None for value in _constants(first, norm)):
            continue
        bias = _folded(weight, first, norm)
        graph.register_initializer(bias)
        for conv, after in pairs:
            assert after is not None
            conv.resize_inputs(3)
            conv.replace_input_with(2, bias)
            after.outputs[0].replace_all_uses_with(conv.outputs[0])
            graph.remove(after, safe=True)


def _norm_after(node: ir.Node) -> ir.Node | None:
    """The batch norm that alone takes a convolution's output."""
    users = node.outputs[0].consumers()
    if node.op_type != "Conv" or [user.op_type for user in users] != ["BatchNormalization"]:
        return None
    ends = (node.outputs[0], users[0].outputs[0])
    return None if any(value.is_graph_output() for value in ends) else users[0]


def _constants(conv: ir.Node, norm: ir.Node | None) -> tuple[ir.Value, ...]:
    """A convolution's bias, if it has one, and the norm's scale, shift, mean and variance."""
    return tuple(value for value in (*conv.inputs[2:], *(norm.inputs[1:] if norm else ())) if value is not None)


def _folded(weight: ir.Value, conv: ir.Node, norm: ir.Node) -> ir.Value:
    """Scales a weight [Cout, …] in place as the norm would its output; gives the bias that does the rest."""
    *own, scale, shift, mean, variance = (_float64(value) for value in _constants(conv, norm))
    factor = scale / np.sqrt(variance + norm.attributes.get_float("epsilon", _EPSILON))
    values = _float64(weight)
    kind = weight.const_value.dtype.numpy()
    weight.const_value = ir.tensor((values * factor.reshape(-1, *[1] * (values.ndim - 1))).astype(kind))
    bias = ir.tensor(((sum(own) - mean) * factor + shift).astype(kind))
    return ir.Value(name=f"{weight.name}_bias", const_value=bias, shape=bias.shape, type=ir.TensorType(bias.dtype))


def _float64(value: ir.Value) -> np.ndarray:
    assert value.const_value is not None
    return value.const_value.numpy().astype(np.float64)
