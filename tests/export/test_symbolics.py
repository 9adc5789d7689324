"""What `add_functions` adds to a model, and what it refuses."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from rsvl.export.symbolics import add_functions
from rsvl.ops import rotated_conv2d
from rsvl.runtime.errors import UsageError


def model(*nodes: onnx.NodeProto, opset: int = 18) -> onnx.ModelProto:
    """A chain of nodes on x [batch, 2, 5, 5] with taps of 3×3, 5×5 and one base."""
    rng = np.random.default_rng(0)
    info = onnx.helper.make_tensor_value_info
    taps = [rng.standard_normal((1, k, k, 2, 2)).astype(np.float32) for k in (3, 5)]
    graph = onnx.helper.make_graph(
        nodes,
        "chain",
        [info("x", 1, ["batch", 2, 5, 5]), info("theta", 1, ["batch", 1]), info("gate", 1, ["batch", 1])],
        [info(nodes[-1].output[0], 1, ["batch", 2, 5, 5])],
        [onnx.numpy_helper.from_array(array, name) for array, name in zip(taps, ("taps3", "taps5"), strict=True)],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=10)


def rotated(x: str, k: int, y: str, mode: str = "bilinear") -> onnx.NodeProto:
    inputs = [x, f"taps{k}", "theta", "gate"]
    return onnx.helper.make_node("RotatedConv2d", inputs, [y], domain="rsvl", mode=mode, kernel_size=k)


def test_nodes_with_equal_attributes_share_one_function() -> None:
    made = model(rotated("x", 3, "h"), rotated("h", 3, "y"))
    add_functions(made)
    assert [(f.domain, f.name, f.overload) for f in made.functions] == [("rsvl", "RotatedConv2d", "")]
    assert [(entry.domain, entry.version) for entry in made.opset_import] == [("", 18), ("rsvl", 1)]


def test_model_without_custom_nodes_stays_as_it_was() -> None:
    made = model(onnx.helper.make_node("Relu", ["x"], ["y"]))
    before = made.SerializeToString()
    add_functions(made)
    assert made.SerializeToString() == before


def test_nodes_with_different_attributes_run_their_own_bodies() -> None:
    made = model(rotated("x", 3, "h", "arc"), rotated("h", 5, "g"), rotated("g", 3, "y"))
    add_functions(made)
    onnx.checker.check_model(made)
    rng = np.random.default_rng(1)
    x, theta, gate = (rng.standard_normal(shape).astype(np.float32) for shape in ((2, 2, 5, 5), (2, 1), (2, 1)))
    run = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    y = run.run(None, {"x": x, "theta": theta, "gate": gate})[0]

    w3, w5 = (torch.tensor(onnx.numpy_helper.to_array(t)).permute(0, 3, 4, 1, 2) for t in made.graph.initializer)
    h, *angles = (torch.from_numpy(array) for array in (x, theta, gate))
    for weight, mode in ((w3, "arc"), (w5, "bilinear"), (w3, "bilinear")):
        h = rotated_conv2d(h, weight, *angles, mode)
    np.testing.assert_allclose(y, h.numpy(), rtol=1e-4, atol=1e-4)


def test_node_inside_a_branch_gets_its_function() -> None:
    branch = onnx.helper.make_graph(
        [rotated("x", 3, "inner")], "branch", [], [onnx.helper.make_tensor_value_info("inner", 1, None)]
    )
    condition = onnx.helper.make_node(
        "Constant", [], ["condition"], value=onnx.numpy_helper.from_array(np.array(True), "")
    )
    made = model(condition, onnx.helper.make_node("If", ["condition"], ["y"], then_branch=branch, else_branch=branch))
    add_functions(made)
    assert [f.name for f in made.functions] == ["RotatedConv2d"]


@pytest.mark.parametrize(
    ("node", "opset", "message"),
    [
        (onnx.helper.make_node("Nonsense", ["x"], ["y"], domain="rsvl"), 18, "no ONNX function for rsvl::Nonsense"),
        (rotated("x", 3, "y"), 17, "needs ONNX opset 18, not 17"),
    ],
)
def test_what_has_no_body_is_refused(node: onnx.NodeProto, opset: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        add_functions(model(node, opset=opset))
