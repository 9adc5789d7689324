"""Which of a graph's nodes can be quantized: those that multiply by constant weights; where in the model each belongs.

What is computed from two activations (the scores of an attention, their sums over values) stays float: its cost is
small beside the layers' and its values have no fixed range. The custom operations take part with their weights only:
`RotatedConv2d` combines its rotated kernels for every image, `LoRAMoE` its experts, and both keep their function
bodies and their plugins, which compute in float.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx
from onnx import numpy_helper

from rsvl.export.keep_fp32 import matching_pattern
from rsvl.export.nodes import every_node
from rsvl.export.quantization.types import INT8, QuantType

MIN_WEIGHTS = 1024
"""A layer of fewer weights gains nothing from 8 bits: it stays float."""

_PATH = re.compile(r"inner\.model\.([\w.]+): ")  # as `graphs.write_graph` wraps a model's graph


@dataclass(frozen=True)
class Layer:
    """A node that can be in 8 bits.

    Attributes:
        graph: the graph's name.
        node: the node's name, unique in its graph.
        path: path of its module in the PyTorch model.
        weight: its initializer, float32.
        axis: the weight's axis of output channels, which have a scale each.
        size: number of elements of the weight.
        takes: the activation that is quantized before it; empty for weights only.
        gives: a convolution's output, which is quantized too where the type needs that. Empty for other layers.
        macs_per_element: MACs per element of the activation that `macs` counts by.
    """

    graph: str
    node: str
    path: str
    weight: str
    axis: int
    size: int
    takes: str = ""
    gives: str = ""
    macs_per_element: int = 1

    def macs(self, elements: Mapping[str, int]) -> int:
        """The 8-bit MACs of one sample.

        Args:
            elements: elements per sample of each activation, by tensor name.
        """
        if not self.takes:
            return 0
        return elements.get(self.gives or self.takes, 0) * self.macs_per_element


def layers_of(
    name: str, model: onnx.ModelProto, kept: Mapping[str, str], outputs: Collection[str] = (), kind: QuantType = INT8
) -> list[Layer]:
    """The nodes of a graph that can be quantized, in the order in which they run.

    Args:
        name: the graph's name.
        model: the graph, float32.
        kept: what stays float: a submodule's path, or a pattern, as `ExportableModel.keep_fp32`.
        outputs: outputs that no other graph takes, which must not be rounded to 8 bits.
        kind: the type.
    """
    weights = {
        tensor.name: tensor
        for tensor in model.graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT and np.prod(tensor.dims) >= MIN_WEIGHTS
    }
    unrounded = {*outputs, *_shared(model)} if kind.rounds_outputs else set[str]()
    found = []
    for node in model.graph.node:
        if len(node.input) < 2 or node.input[1] not in weights:
            continue
        layer = _layer(name, node, weights[node.input[1]], unrounded)
        if layer is not None and matching_pattern(layer.path, kept) is None:
            found.append(layer)
    return found


def weight_of(model: onnx.ModelProto, name: str) -> np.ndarray:
    """An initializer's values."""
    return numpy_helper.to_array(next(tensor for tensor in model.graph.initializer if tensor.name == name))


def module_path(node: onnx.NodeProto) -> str:
    """The path of the innermost module that a node comes from; empty where the graph does not say."""
    namespace = next((entry.value for entry in node.metadata_props if entry.key == "namespace"), "")
    paths = _PATH.findall(namespace)
    return paths[-1] if paths else ""


def _layer(graph: str, node: onnx.NodeProto, weight: onnx.TensorProto, unrounded: Collection[str]) -> Layer | None:
    """The layer that a node is, if it is one; `unrounded` are outputs that must not be rounded, though layers are."""
    shape, takes = list(weight.dims), node.input[0]
    stored = Layer(graph, node.name, module_path(node), weight.name, axis=0, size=int(np.prod(shape)))
    match node.domain, node.op_type:
        case "", "Conv" if node.output[0] in unrounded:  # without a rounded output a runtime computes it in float
            return stored
        case "", "Conv":
            return replace(stored, takes=takes, gives=node.output[0], macs_per_element=stored.size // shape[0])
        case "", "MatMul" if len(shape) == 2:
            return replace(stored, axis=1, takes=takes, macs_per_element=shape[1])
        case "", "Gemm" if not _attribute(node, "transA"):
            axis = 0 if _attribute(node, "transB") else 1
            return replace(stored, axis=axis, takes=takes, macs_per_element=shape[axis])
        case "rsvl", "RotatedConv2d":
            return replace(stored, axis=3)
        case "rsvl", "LoRAMoE":
            return stored
    return None


def _shared(model: onnx.ModelProto) -> set[str]:
    """Tensors that several nodes take."""
    return {tensor for tensor, users in consumers(model).items() if len(users) > 1}


def _attribute(node: onnx.NodeProto, name: str) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == name), 0)


def consumers(model: onnx.ModelProto) -> dict[str, list[onnx.NodeProto]]:
    """The nodes that take each tensor, by its name; those inside of branches and loops too."""
    found: dict[str, list[onnx.NodeProto]] = {}
    for node in every_node(model.graph):
        for name in node.input:
            found.setdefault(name, []).append(node)
    return found
