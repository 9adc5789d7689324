"""What a tensor of a graph is, where constants or examples decide it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator


def evaluated(value: ir.Value, examples: Mapping[ir.Value, np.ndarray] | None = None) -> np.ndarray | None:
    """A tensor's value; None where it depends on an input of the graph or on an operation that is not standard.

    Args:
        value: the tensor.
        examples: what tensors on the way to it are taken to be.
    """
    given = examples or {}
    if value in given:
        return given[value]
    if value.const_value is not None:
        return value.const_value.numpy()
    node = value.producer()
    if node is None or node.graph is None or node.domain not in ("", "ai.onnx"):
        return None
    inputs = [None if before is None else evaluated(before, given) for before in node.inputs]
    if any(found is None and before is not None for found, before in zip(inputs, node.inputs, strict=True)):
        return None
    evaluator = ReferenceEvaluator(ir.to_proto(node), opsets={"": node.version or node.graph.opset_imports[""]})
    named = {str(before.name): found for before, found in zip(node.inputs, inputs, strict=True) if before is not None}
    return np.asarray(list(evaluator.run(None, named))[node.outputs.index(value)])
