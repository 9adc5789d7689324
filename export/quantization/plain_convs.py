"""Convolutions of an earlier float32 bundle back from Winograd's form: a Conv is what runtimes compute in 8 bits.

Today the standard graph, which is quantized, has plain ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from rsvl.export.quantization.layers import consumers

_NAME = "WinogradConv2d"


def to_plain_convs(model: onnx.ModelProto) -> None:
    """Replaces every `rsvl::WinogradConv2d` of a graph with a Conv.

    Taps [3, 3, Cout, Cin] become the weight [Cout, Cin, 3, 3] again, and the addition of a column [Cout, 1, 1] after
    the operation becomes its bias.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    users = consumers(model)
    found = {node.output[0]: node for node in model.graph.node if node.op_type == _NAME}
    additions = {name: _addition(node, users, constants) for name, node in found.items()}
    absorbed = {add.output[0] for add in additions.values() if add is not None}
    nodes = [
        _conv(node, additions[node.output[0]]) if node.output[0] in found else node
        for node in model.graph.node
        if node.output[0] not in absorbed
    ]
    taps = {node.input[1] for node in found.values()}
    columns = {add.input[1] for add in additions.values() if add is not None}
    for name in taps:
        _reshape(constants[name], lambda values: values.transpose(2, 3, 0, 1))
    for name in columns:
        _reshape(constants[name], np.ravel)
    described = [value for value in model.graph.value_info if value.name not in taps | columns]
    del model.graph.value_info[:]
    model.graph.value_info.extend(described)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    functions = [function for function in model.functions if function.name != _NAME]
    del model.functions[:]
    model.functions.extend(functions)


def _addition(
    node: onnx.NodeProto, users: Mapping[str, list[onnx.NodeProto]], constants: Mapping[str, onnx.TensorProto]
) -> onnx.NodeProto | None:
    """The node that alone takes an operation's output and adds a constant to each channel."""
    after = users.get(node.output[0], [])
    if len(after) != 1 or after[0].op_type != "Add" or after[0].input[1] not in constants:
        return None
    return after[0] if list(constants[after[0].input[1]].dims[1:]) == [1, 1] else None


def _conv(node: onnx.NodeProto, addition: onnx.NodeProto | None) -> onnx.NodeProto:
    inputs, output = list(node.input), node.output[0]
    if addition is not None:
        inputs, output = [*inputs, addition.input[1]], addition.output[0]
    conv = helper.make_node("Conv", inputs, [output], name=node.name, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    conv.metadata_props.extend(node.metadata_props)  # where in the model it comes from
    return conv


def _reshape(tensor: onnx.TensorProto, change: Callable[[np.ndarray], np.ndarray]) -> None:
    values = change(numpy_helper.to_array(tensor))
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), tensor.name))
