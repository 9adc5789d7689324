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
        parameters = {_parameters(conv, norm) for conv, norm in pairs}
        if len(pairs) < len(weight.uses()) or len(parameters) != 1 or None in parameters:
            continue
        constants, epsilon = parameters.pop() or ((), 0.0)
        bias = _folded(weight, constants, epsilon)
        graph.register_initializer(bias)
        for conv, norm in pairs:
            assert norm is not None
            conv.resize_inputs(3)
            conv.replace_input_with(2, bias)
            norm.outputs[0].replace_all_uses_with(conv.outputs[0])
            graph.remove(norm, safe=True)
        for value in set(constants):  # an untrained norm's shift and mean can be one
            if value.name and not value.uses():
                graph.initializers.pop(value.name)


def _norm_after(node: ir.Node) -> ir.Node | None:
    """The batch norm that alone takes a convolution's output."""
    users = node.outputs[0].consumers()
    if node.op_type != "Conv" or [user.op_type for user in users] != ["BatchNormalization"]:
        return None
    ends = (node.outputs[0], users[0].outputs[0])
    return None if any(value.is_graph_output() for value in ends) else users[0]


def _parameters(conv: ir.Node, norm: ir.Node | None) -> tuple[tuple[ir.Value, ...], float] | None:
    """A convolution's bias, if it has one, its norm's scale, shift, mean, variance and epsilon; None if they vary."""
    if norm is None:
        return None
    values = tuple(value for value in (*conv.inputs[2:], *norm.inputs[1:]) if value is not None)
    constant = all(value.const_value is not None for value in values)
    return (values, norm.attributes.get_float("epsilon", _EPSILON)) if constant else None


def _folded(weight: ir.Value, constants: tuple[ir.Value, ...], epsilon: float) -> ir.Value:
    """Scales a weight [Cout, …] in place as the norm would its output; gives the bias that does the rest."""
    *own, scale, shift, mean, variance = (_float64(value) for value in constants)
    factor = scale / np.sqrt(variance + epsilon)
    values, kind = _float64(weight), weight.dtype.numpy() if weight.dtype else np.float32
    weight.const_value = ir.tensor((values * factor.reshape(-1, *[1] * (values.ndim - 1))).astype(kind))
    bias = ((sum(own) - mean) * factor + shift).astype(kind)
    return ir.Value(
        name=f"{weight.name}_bias",
        const_value=ir.tensor(bias),
        shape=ir.Shape(bias.shape),
        type=ir.TensorType(ir.DataType.from_numpy(bias.dtype)),
    )


def _float64(value: ir.Value) -> np.ndarray:
    assert value.const_value is not None
    return value.const_value.numpy().astype(np.float64)
