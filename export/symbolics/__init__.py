"""The bodies of rsvl's custom operations: ONNX functions of standard operators that travel inside the exported model.

A node of domain ``rsvl`` stays one node, so that a TensorRT with our plugin takes it whole; every other runtime expands
the function of the same name that `add_functions` put beside the graph. One operation, one file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx

from rsvl.export.nodes import every_node
from rsvl.export.symbolics import lora_moe, patch_lora_moe, rotated_conv, selective_scan, softplus, winograd
from rsvl.runtime.errors import UsageError

DOMAIN = "rsvl"
MIN_OPSET = 18
"""The first that has all operators of the bodies."""

#: Operation name → builder of its function: the node's attributes by name, the model's opset, and whether any tensor
#: of the graph is float16 → FunctionProto.
FUNCTIONS: dict[str, Callable[[dict[str, Any], int, bool], onnx.FunctionProto]] = {
    "LoRAMoE": lora_moe.function,
    "PatchLoRAMoE": patch_lora_moe.function,
    "RotatedConv2d": rotated_conv.function,
    "SelectiveScan": selective_scan.function,
    "Softplus": softplus.function,
    "WinogradConv2d": winograd.function,
}

#: Operation name → builder of a further function, from the model's opset, for operations whose body has shapes that
#: follow from values. ONNX Runtime does not look at it: no node names its overload. TensorRT's parser, which must know
#: all shapes, takes the first function of a name.
FIXED_SHAPES: dict[str, Callable[[int], onnx.FunctionProto]] = {"PatchLoRAMoE": patch_lora_moe.fixed_shapes}


def add_functions(model: onnx.ModelProto) -> None:
    """Appends, in place, the functions that the model's ``rsvl`` nodes use and the import of their domain.

    Call it last: converters of precision or opset inline functions or do not look inside them. A body that depends on
    attributes (a kernel size) is built for those of the node. Where one graph holds the same operation with different
    attributes, each variant becomes an overload; ONNX Runtime follows overloads, TensorRT's parser does not.

    Raises:
        UsageError: an ``rsvl`` node without a registered function, or an opset for which a body is not written.
    """
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    half = _has_float16(model.graph)
    variants: dict[str, dict[str, list[onnx.NodeProto]]] = {}
    for node in every_node(model.graph):
        if node.domain == DOMAIN:
            variants.setdefault(node.op_type, {}).setdefault(repr(_attributes(node)), []).append(node)
    for name, by_attributes in variants.items():
        if name not in FUNCTIONS:
            raise UsageError(f"no ONNX function for {DOMAIN}::{name}: add it to rsvl.export.symbolics.FUNCTIONS")
        if opset < MIN_OPSET:
            raise UsageError(f"{name}'s body needs ONNX opset {MIN_OPSET}, not {opset}: export with a newer opset")
        if name in FIXED_SHAPES:
            model.functions.append(FIXED_SHAPES[name](opset))
        for number, nodes in enumerate(by_attributes.values()):
            function = FUNCTIONS[name](_attributes(nodes[0]), opset, half)
            if len(by_attributes) > 1:
                function.overload = str(number)
                for node in nodes:
                    node.overload = function.overload
            model.functions.append(function)
    if variants and all(entry.domain != DOMAIN for entry in model.opset_import):
        model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))


def _has_float16(graph: onnx.GraphProto) -> bool:
    weights = {weight.data_type for weight in graph.initializer}
    tensors = {value.type.tensor_type.elem_type for value in (*graph.input, *graph.value_info)}
    return onnx.TensorProto.FLOAT16 in weights | tensors


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    values = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    return {name: values[name].decode() if isinstance(values[name], bytes) else values[name] for name in sorted(values)}
