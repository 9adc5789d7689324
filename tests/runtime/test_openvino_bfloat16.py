"""What stays float32 beside bfloat16; and divided graphs compute what they computed whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from rsvl.runtime.openvino.bfloat16 import divide

openvino = pytest.importorskip("openvino")

RNG = np.random.default_rng(0)
X, A, B = (RNG.standard_normal(shape).astype(np.float32) for shape in ((2, 8), (8, 6), (6, 3)))
HIDDEN = np.maximum(X.astype(np.float64) @ A, 0)
EXPECTED = {"hidden": HIDDEN, "logits": HIDDEN @ B + X.astype(np.float64).sum(1, keepdims=True), "sum": X.sum(1)}


@pytest.fixture
def model(tmp_path: Path) -> Any:
    """A graph: hidden = relu(x · a), sum = Σ x, logits = hidden · b + Σ x."""
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["product"]),
        helper.make_node("Relu", ["product"], ["hidden"]),
        helper.make_node("ReduceSum", ["x", "axis"], ["column"]),
        helper.make_node("ReduceSum", ["x", "axis"], ["sum"], keepdims=0),
        helper.make_node("MatMul", ["hidden", "b"], ["similarity"]),
        helper.make_node("Add", ["similarity", "column"], ["logits"]),
    ]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape) for name, array in EXPECTED.items()]
    weights = [numpy_helper.from_array(array, name) for name, array in (("a", A), ("b", B), ("axis", np.array([1])))]
    graph = helper.make_graph(
        nodes, "toy", [helper.make_tensor_value_info("x", TensorProto.FLOAT, X.shape)], outputs, weights
    )
    path = tmp_path / "toy.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return openvino.Core().read_model(str(path))


def products(model: Any) -> int:
    return 0 if model is None else sum(node.get_type_name() == "MatMul" for node in model.get_ordered_ops())


@pytest.mark.parametrize(
    ("answers", "first", "second"),
    [
        ({"logits"}, 1, 1),
        ({"logits", "sum"}, 1, 1),
        ({"hidden", "logits", "sum"}, 1, 2),  # the hidden layer is an answer's last product, and what another takes
        ({"hidden"}, 2, 1),
        ({"sum"}, 2, 0),
        ({"of another graph"}, 2, 0),
    ],
)
def test_divided_graph_computes_the_same_and_only_last_products_come_last(
    model: Any, answers: set[str], first: int, second: int
) -> None:
    parts = divide(model, answers)
    assert [products(part) for part in parts] == [first, second]
    tensors, given = {"x": X}, []
    for part in parts:
        if part is None:
            continue
        names = {name for port in part.inputs for name in port.get_names()} & tensors.keys()
        request = openvino.Core().compile_model(part, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        found = request({name: tensors[name] for name in names})
        given.append({name for port in part.outputs for name in port.get_names()} & EXPECTED.keys())
        tensors |= {name: found[name] for port in part.outputs for name in port.get_names()}
    for name, expected in EXPECTED.items():
        np.testing.assert_allclose(tensors[name], expected, atol=1e-4)
    assert given[-1] >= answers & EXPECTED.keys()


@pytest.mark.parametrize("node", ["MatMul", "Cos"])
def test_answers_last_product_and_angles_stay_whole(node: str, tmp_path: Path) -> None:
    info = helper.make_tensor_value_info
    weights = [numpy_helper.from_array(A, "a")] if node == "MatMul" else []
    graph = helper.make_graph(
        [helper.make_node(node, ["x", *(weight.name for weight in weights)], ["y"])],
        "one_node",
        [info("x", TensorProto.FLOAT, X.shape)],
        [info("y", TensorProto.FLOAT, None)],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), tmp_path / "y.onnx")
    model = openvino.Core().read_model(str(tmp_path / "y.onnx"))
    assert divide(model, {"y"} if node == "MatMul" else set()) == (None, model)
