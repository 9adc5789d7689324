"""Quantize and dequantize nodes in a graph: explicit quantization, which TensorRT and ONNX Runtime both read.

Symmetric: a number x is stored as ``round(x / scale)`` with the zero point 0; in int8 127 is the largest, in fp8 448. A
weight has one scale for each output channel and is stored in 8 bits with a DequantizeLinear after it; an activation has
one scale and passes through QuantizeLinear and DequantizeLinear. Biases stay float32: TensorRT wants them so, and ONNX
Runtime quantizes them by itself. The graph's inputs and outputs are as they were.

Every layer has its own pair of nodes before it. On x86 ONNX Runtime's kernels want unsigned activations. It makes them
unsigned when it loads the graph, but only where a single node dequantizes what another has quantized; else it computes
in float. Pairs of one tensor differ in `axis`, which means nothing beside a single scale: alike, they would become one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from rsvl.export.quantization.layers import Layer, weight_of
from rsvl.export.quantization.types import INT8, QuantType

_SMALLEST_SCALE = float(np.finfo(np.float32).tiny)
_AXES = (1, 0, -1, -2)
"""Those that a matrix has, and so everything that a layer takes."""


def quantize_weight(weight: np.ndarray, axis: int, kind: QuantType = INT8) -> tuple[np.ndarray, np.ndarray]:
    """A weight in 8 bits with a scale for each channel.

    Args:
        weight: float32, any shape.
        axis: the axis of the channels.
        kind: the type.

    Returns:
        The type's own of the weight's shape, and float32 scales [C]; their product is within half a step of the weight.
    """
    others = tuple(other for other in range(weight.ndim) if other != axis)
    scales = np.maximum(np.abs(weight).max(axis=others).astype(np.float64) / kind.largest, _SMALLEST_SCALE).astype(
        np.float32
    )
    shape = [-1 if dimension == axis else 1 for dimension in range(weight.ndim)]
    return kind.rounded(weight.astype(np.float64) / scales.astype(np.float64).reshape(shape)), scales


def quantized(
    model: onnx.ModelProto, layers: Iterable[Layer], largest: Mapping[str, float], kind: QuantType = INT8
) -> onnx.ModelProto:
    """A copy of a graph with these layers in 8 bits.

    Args:
        model: the graph, float32.
        layers: some of its layers.
        largest: the magnitude that maps to the type's largest, of each activation that the layers take or give.
            Empty for weights only.
        kind: the type.
    """
    writer = _Writer(largest, kind)
    chosen = {layer.node: layer for layer in layers}
    for layer in chosen.values():
        writer.add_weight(layer, weight_of(model, layer.weight))
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.graph.node[:]
    for node in model.graph.node:
        result.graph.node.extend(writer.rewritten(node, chosen.get(node.name)))
    still_float = {name for node in result.graph.node for name in node.input}
    replaced = [tensor for tensor in result.graph.initializer if tensor.name not in still_float]
    for tensor in replaced:
        result.graph.initializer.remove(tensor)
    result.graph.initializer.extend(writer.initializers)
    return result


class _Writer:
    """Rewrites a graph's nodes one by one, each of which finds what it takes written before it."""

    def __init__(self, largest: Mapping[str, float], kind: QuantType) -> None:
        self.initializers: list[onnx.TensorProto] = []
        self._largest, self._kind = largest, kind
        self._weights: dict[str, onnx.NodeProto] = {}
        self._written: set[str] = set()
        self._given: set[str] = set()  # activations that have passed through 8 bits where they were made
        self._pairs: Counter[str] = Counter()

    def add_weight(self, layer: Layer, weight: np.ndarray) -> None:
        """Stores a weight in 8 bits, once for all layers that share it."""
        if layer.weight in self._weights:
            return
        values, scales = quantize_weight(weight, layer.axis, self._kind)
        stored = {self._kind.name: values, "scale": scales, "zero": np.zeros_like(scales, self._kind.dtype)}
        names = [self._constant(f"{layer.weight}_{part}", array) for part, array in stored.items()]
        output = f"{layer.weight}_dequantized"
        self._weights[layer.weight] = helper.make_node(
            "DequantizeLinear", names, [output], name=f"{layer.weight}_dequantize", axis=layer.axis
        )

    def rewritten(self, node: onnx.NodeProto, layer: Layer | None) -> list[onnx.NodeProto]:
        """The node with what must stand before and after it."""
        if layer is None:
            return [node]
        copy, before, after = onnx.NodeProto(), [], []
        copy.CopyFrom(node)
        if layer.weight not in self._written:
            self._written.add(layer.weight)
            before.append(self._weights[layer.weight])
        copy.input[1] = self._weights[layer.weight].output[0]
        if layer.takes in self._largest and layer.takes not in self._given:
            copy.input[0] = f"{layer.takes}_for_{node.name}"
            before += self._pair(layer.takes, layer.takes, copy.input[0])
        if self._kind.rounds_outputs and layer.gives in self._largest:
            copy.output[0] = f"{layer.gives}_computed"  # the output itself is what has been rounded
            after = self._pair(layer.gives, copy.output[0], layer.gives)
            self._given.add(layer.gives)
        return [*before, copy, *after]

    def _pair(self, tensor: str, source: str, target: str) -> list[onnx.NodeProto]:
        """The nodes that take an activation through 8 bits, from one name to another."""
        number = self._pairs[tensor]
        self._pairs[tensor] += 1
        if not number:
            scale = np.float32(max(self._largest[tensor] / self._kind.largest, _SMALLEST_SCALE))
            self._constant(f"{tensor}_scale", scale)
            self._constant(f"{tensor}_zero", np.zeros((), self._kind.dtype))
        constants, middle = [f"{tensor}_scale", f"{tensor}_zero"], f"{target}_{self._kind.name}"
        axis = _AXES[number % len(_AXES)]
        return [
            helper.make_node("QuantizeLinear", [source, *constants], [middle], name=f"{target}_quantize", axis=axis),
            helper.make_node(
                "DequantizeLinear", [middle, *constants], [target], name=f"{target}_dequantize", axis=axis
            ),
        ]

    def _constant(self, name: str, value: np.ndarray | np.generic) -> str:
        self.initializers.append(numpy_helper.from_array(np.asarray(value), name))
        return name
