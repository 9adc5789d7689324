"""Custom operations as the nodes of their bodies.

OpenVINO's reader does not look for the functions of a model (2026.4). What is inlined here it reads from the file, with
the weights mapped from beside it.
"""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import InlinePass

PREFIX = "_inlfunc_"
"""What names of tensors inside of a body begin with, before the operation's name: as in what ONNX Runtime inlines."""


def inline_functions(model: ir.Model) -> bool:
    """Puts the bodies of a model's functions in their nodes' places, in place; returns whether it has any."""
    if not model.functions:
        return False
    for function in model.functions.values():
        for node in function:
            for output in node.outputs:
                output.name = f"{PREFIX}{function.name}_{output.name}"
    InlinePass()(model)
    return True
