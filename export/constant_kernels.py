"""Convolution kernels that a model computes from its weights, computed once at the export.

LWGANet adds four strips of weights up to one 13×13 kernel. Left in the graph, it would be added up for every image, no
batch norm could be folded into it, and no 8-bit type would find a weight.
"""

from __future__ import annotations

import onnx_ir as ir

from rsvl.export.evaluation import evaluated


def fold_kernels(graph: ir.Graph) -> None:
    """Replaces, in place, every kernel of a Conv that depends on constants alone by its value."""
    for conv in [node for node in graph if node.op_type == "Conv"]:
        kernel = conv.inputs[1]
        if kernel is None or kernel.producer() is None:
            continue
        value = evaluated(kernel)
        if value is None:
            continue
        folded = ir.Value(
            name=f"{kernel.name}_folded",
            const_value=ir.tensor(value),
            shape=ir.Shape(value.shape),
            type=ir.TensorType(ir.DataType.from_numpy(value.dtype)),
        )
        graph.register_initializer(folded)
        conv.replace_input_with(1, folded)
        _remove_unused(kernel, graph)


def _remove_unused(value: ir.Value, graph: ir.Graph) -> None:
    """Removes what made a value, back to the constants, where nothing else needs it."""
    if value.uses():
        return
    node = value.producer()
    if node is None:
        if value.name is not None and value.name in graph.initializers and not value.is_graph_output():
            graph.initializers.pop(value.name)
        return
    if any(output.uses() or output.is_graph_output() for output in node.outputs):
        return
    inputs = [before for before in node.inputs if before is not None]
    graph.remove(node, safe=True)
    for before in inputs:
        _remove_unused(before, graph)
