"""SmoothQuant (Xiao et al., ICML 2023): moves what makes a transformer's activations hard to quantize into its weights.

Single channels of a layer norm's output are far larger than the others, and one scale for all of them leaves the others
few steps. Here, with α = 1/2, channel j is divided by ``s_j = √(max|X_j| / max|W_j|)`` (equation 4), rounded to a power
of two: the norm's scale and bias are divided by it and the weight's row j of every linear layer that takes the output
is multiplied. Powers of two change exponents only, so the float function stays the same to the last bit.

Where something else takes the norm's output as well (the residual of a post-norm transformer), nothing is moved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

from rsvl.export.quantization.layers import Layer, consumers, weight_of

MAX_EXPONENT = 10
"""No channel is scaled by more than 2^10: one that is always zero needs no more steps."""


@dataclass(frozen=True)
class Smoothable:
    """A layer norm whose output only linear layers take.

    Attributes:
        output: the norm's output, a tensor's name.
        parameters: the initializers of its scale and bias.
        weights: those of the linear layers [K, N], K as the norm's channels.
    """

    output: str
    parameters: tuple[str, ...]
    weights: tuple[str, ...]


def smoothable(model: onnx.ModelProto, layers: Sequence[Layer]) -> list[Smoothable]:
    """The layer norms of a graph that scales can be moved out of."""
    linear = {layer.node: layer for layer in layers if layer.takes and layer.axis == 1}
    users = consumers(model)
    outputs = {output.name for output in model.graph.output}
    initializers = {tensor.name for tensor in model.graph.initializer}
    found = []
    for node in model.graph.node:
        output = node.output[0]
        if node.op_type != "LayerNormalization" or output in outputs or output not in users:
            continue
        after = [linear.get(user.name) for user in users[output]]
        if not all(layer is not None and layer.takes == output for layer in after):
            continue
        weights = {layer.weight for layer in after if layer is not None}
        parameters = tuple(name for name in node.input[1:] if name)
        own = initializers.issuperset(parameters) and all(len(users[name]) == 1 for name in (*parameters, *weights))
        if own:
            found.append(Smoothable(output, parameters, tuple(sorted(weights))))
    return found


def smooth(
    model: onnx.ModelProto, norms: Sequence[Smoothable], largest: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Moves scales from layer norms into the linear layers after them, in place.

    Args:
        model: the graph, float32.
        norms: those of `smoothable`.
        largest: of each norm's output the largest magnitude of each channel, [K].

    Returns:
        What `largest` is now.
    """
    smoothed = {}
    for norm in norms:
        rows = np.max([np.abs(weight_of(model, name)).max(axis=1) for name in norm.weights], axis=0)
        scale = factors(largest[norm.output], rows)
        for name in norm.parameters:
            _replace(model, name, weight_of(model, name) / scale)
        for name in norm.weights:
            _replace(model, name, weight_of(model, name) * scale[:, None])
        smoothed[norm.output] = largest[norm.output] / scale
    return smoothed


def factors(activations: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Powers of two near √(activations / weights), float32 [K], from the largest magnitudes [K] of both.

    They are relative to their median, so that no weights grow or shrink as a whole.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        exponents = np.log2(activations.astype(np.float64) / weights) / 2
    known = np.isfinite(exponents)
    exponents = np.where(known, exponents, 0.0)
    exponents[known] -= np.median(exponents[known]) if known.any() else 0.0
    return np.exp2(np.clip(np.rint(exponents), -MAX_EXPONENT, MAX_EXPONENT)).astype(np.float32)


def _replace(model: onnx.ModelProto, name: str, values: np.ndarray) -> None:
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), name))
