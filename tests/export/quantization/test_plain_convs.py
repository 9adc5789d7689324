"""Convolutions in Winograd's form, as earlier bundles have them, back to plain ones that compute the same."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from rsvl.export.quantization.plain_convs import to_plain_convs
from rsvl.export.symbolics import add_functions


def model(bias: bool) -> onnx.ModelProto:
    """One operation on x [B, 5, 7, 6], with a column added to its channels or without."""
    rng = np.random.default_rng(0)
    constants = {
        "taps": rng.standard_normal((3, 3, 4, 5)).astype(np.float32),
        "column": rng.standard_normal((4, 1, 1)).astype(np.float32),
    }
    nodes = [helper.make_node("WinogradConv2d", ["x", "taps"], ["z" if bias else "y"], domain="rsvl")]
    nodes += [helper.make_node("Add", ["z", "column"], ["y"])] if bias else []
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "conv",
        [info("x", onnx.TensorProto.FLOAT, ["batch", 5, 7, 6])],
        [info("y", onnx.TensorProto.FLOAT, ["batch", 4, 7, 6])],
        [numpy_helper.from_array(array, name) for name, array in constants.items() if bias or name == "taps"],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    add_functions(made)
    return made


@pytest.mark.parametrize("bias", [False, True])
def test_plain_convolution_computes_the_same(bias: bool) -> None:
    x = np.random.default_rng(1).standard_normal((2, 5, 7, 6)).astype(np.float32)
    before = model(bias)
    after = onnx.ModelProto.FromString(before.SerializeToString())
    to_plain_convs(after)
    onnx.checker.check_model(after, full_check=True)
    assert [node.op_type for node in after.graph.node] == ["Conv"]
    assert not after.functions
    expected, found = (
        onnxruntime.InferenceSession(each.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})
        for each in (before, after)
    )
    np.testing.assert_allclose(found[0], expected[0], atol=1e-4)
