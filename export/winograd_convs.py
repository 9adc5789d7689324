"""Large 3×3 convolutions of a float32 graph as `rsvl::WinogradConv2d`, which multiplies a quarter as often.

ONNX Runtime and OpenVINO compute a Conv on a CPU directly. In float16, which is for GPUs, and in int8
convolutions stay what they are.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from rsvl.export.symbolics import DOMAIN

MIN_CHANNELS = 128
MIN_PIXELS = 225
"""Of input and output, and of a channel: below, moving patches costs what multiplying less saves."""

_DEFAULTS = {"strides": (1, 1), "dilations": (1, 1), "pads": (0, 0, 0, 0), "group": 1, "auto_pad": "NOTSET"}
_PLAIN = _DEFAULTS | {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1)}


def to_winograd(graph: ir.Graph) -> None:
    """Replaces in place the convolutions that it suits; weights [Cout, Cin, 3, 3] become taps [3, 3, Cout, Cin]."""
    for weight in list(graph.initializers.values()):
        convs = [use.node for use in weight.uses()]
        if convs and all(_suits(conv, weight) for conv in convs):
            assert weight.const_value is not None
            taps = _constant(f"{weight.name}_taps", weight.const_value.numpy().transpose(2, 3, 0, 1))
            graph.register_initializer(taps)
            for conv in convs:
                _replace(graph, conv, taps)
            graph.initializers.pop(str(weight.name))


def _suits(conv: ir.Node, weight: ir.Value) -> bool:
    if (conv.domain, conv.op_type) != ("", "Conv") or conv.inputs[1] is not weight or weight.dtype != ir.DataType.FLOAT:
        return False
    (cout, cin, *kernel), pixels = _sizes(weight), _sizes(conv.inputs[0])[2:]
    given = {name: attribute.value for name, attribute in conv.attributes.items()}
    found = {"kernel_shape": kernel, **_DEFAULTS, **given}
    plain = {name: tuple(v) if isinstance(v, list | tuple) else v for name, v in found.items()} == _PLAIN
    return plain and min(cout, cin) >= MIN_CHANNELS and math.prod(pixels) >= MIN_PIXELS


def _sizes(value: ir.Value | None) -> tuple[int, ...]:
    """A tensor's shape, with 0 for what is not known."""
    shape = value.shape if value is not None and value.shape is not None else ()
    return tuple(size if isinstance(size, int) else 0 for size in shape)


def _replace(graph: ir.Graph, conv: ir.Node, taps: ir.Value) -> None:
    """Puts the operation, and an addition of the bias, in a convolution's place."""
    old, bias = conv.outputs[0], conv.inputs[2] if len(conv.inputs) > 2 else None
    nodes = [ir.node("WinogradConv2d", [conv.inputs[0], taps], domain=DOMAIN, metadata_props=conv.metadata_props)]
    if bias is not None:
        nodes.append(ir.node("Add", [nodes[0].outputs[0], _column(graph, bias)]))
    for node in nodes:
        node.outputs[0].shape, node.outputs[0].type = old.shape, old.type
    nodes[-1].outputs[0].name = old.name
    ir.convenience.replace_nodes_and_values(graph, conv, [conv], nodes, [old], [nodes[-1].outputs[0]])
    if bias is not None and not bias.uses():
        graph.initializers.pop(str(bias.name))


def _column(graph: ir.Graph, bias: ir.Value) -> ir.Value:
    """A bias [Cout] as [Cout, 1, 1]; one for all convolutions that share it."""
    name = f"{bias.name}_column"
    if name not in graph.initializers:
        assert bias.const_value is not None
        graph.register_initializer(_constant(name, bias.const_value.numpy().reshape(-1, 1, 1)))
    return graph.initializers[name]


def _constant(name: str, array: np.ndarray) -> ir.Value:
    tensor = ir.tensor(np.ascontiguousarray(array), name=name)
    return ir.Value(name=name, const_value=tensor, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype))
