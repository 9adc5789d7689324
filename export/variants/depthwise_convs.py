"""Depthwise convolutions that make several channels of each one, as plain depthwise ones of repeated channels.

LWGANet's down-samplers make two of each. ONNX Runtime computes a convolution with as many groups as channels in a
kernel of its own, on a CPU, only where each group gives one channel; with two it takes three times as long. Numbers do
not change: the same products are added up.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from rsvl.export.variants.matching import is_node


def to_plain_depthwise(graph: ir.Graph) -> int:
    """Gathers, in place, the channels of such a convolution's input, each as often as its outputs need it.

    Returns:
        How many float32 convolutions there were.
    """
    changed = 0
    for conv in [node for node in graph if is_node(node, "Conv")]:
        x, weight = conv.inputs[0], conv.inputs[1]
        groups = conv.attributes.get_int("group", 1)
        if x is None or weight is None or weight.const_value is None or weight.dtype != ir.DataType.FLOAT:
            continue
        outputs, per_group = weight.const_value.shape[:2]
        if per_group != 1 or not isinstance(outputs, int) or outputs <= groups or groups == 1:
            continue
        channels = ir.tensor(np.repeat(np.arange(groups), outputs // groups), name=f"{weight.name}_channels")
        index = ir.Value(
            name=channels.name, const_value=channels, shape=ir.Shape([outputs]), type=ir.TensorType(channels.dtype)
        )
        graph.register_initializer(index)
        gather = ir.node("Gather", [x, index], {"axis": 1}, metadata_props=conv.metadata_props)
        repeated = gather.outputs[0]
        repeated.name, repeated.type = f"{weight.name}_repeated", x.type
        repeated.shape = None if x.shape is None else ir.Shape([x.shape[0], outputs, *x.shape.dims[2:]])
        graph.insert_before(conv, gather)
        conv.replace_input_with(0, repeated)
        conv.attributes["group"] = ir.AttrInt64("group", outputs)
        changed += 1
    return changed
