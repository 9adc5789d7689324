"""What stays float32 beside bfloat16; and divided graphs compute what they computed whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from rsvl.runtime.backends.openvino.bfloat16 import divide
from rsvl.runtime.backends.openvino.reading import read_model

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


def products(part: Any) -> int:
    return sum(node.get_type_name() == "MatMul" for node in part.get_ordered_ops())


def run(parts: list[tuple[Any, bool]], tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """All parts in float32, one after the other."""
    tensors = dict(tensors)
    for part, _ in parts:
        names = {name for port in part.inputs for name in port.get_names()} & tensors.keys()
        compiled = openvino.Core().compile_model(part, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        found = compiled({name: tensors[name] for name in names})
        tensors |= {name: found[name] for port in part.outputs for name in port.get_names()}
    return tensors


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({"logits"}, [(1, False), (1, True)]),
        ({"logits", "sum"}, [(1, False), (1, True)]),
        ({"hidden", "logits", "sum"}, [(2, True)]),
        ({"hidden"}, [(1, True), (1, False)]),
        ({"of another graph"}, [(2, False)]),
    ],
)
def test_divided_graph_computes_the_same_and_last_products_are_exact(
    model: Any, answers: set[str], expected: list[tuple[int, bool]]
) -> None:
    parts = divide(model, answers)
    assert [(products(part), exact) for part, exact in parts if products(part)] == expected
    found = run(parts, {"x": X})
    for name, array in EXPECTED.items():
        np.testing.assert_allclose(found[name], array, atol=1e-4)


def test_angles_are_exact_from_the_products_before_to_those_after(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["features"]),
        helper.make_node("MatMul", ["features", "b"], ["angles"]),
        helper.make_node("Cos", ["angles"], ["turned"]),
        helper.make_node("MatMul", ["turned", "c"], ["kernel"]),
        helper.make_node("MatMul", ["kernel", "d"], ["y"]),
    ]
    info = helper.make_tensor_value_info
    weights = [numpy_helper.from_array(array, name) for name, array in (("a", A), ("b", B), ("c", B.T), ("d", A.T))]
    graph = helper.make_graph(
        nodes, "turn", [info("x", TensorProto.FLOAT, X.shape)], [info("y", TensorProto.FLOAT, X.shape)], weights
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), tmp_path / "y.onnx")
    parts = divide(openvino.Core().read_model(str(tmp_path / "y.onnx")), set())
    assert [(products(part), exact) for part, exact in parts] == [(1, False), (1, True), (2, False)]
    x = X.astype(np.float64)
    np.testing.assert_allclose(run(parts, {"x": X})["y"], np.cos(x @ A @ B) @ B.T @ A.T, atol=1e-4)


def test_convolution_in_winograds_form_is_exact_between_others_that_are_not(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from rsvl.export.symbolics import add_functions

    x, point, taps = (
        RNG.standard_normal(shape).astype(np.float32) for shape in ((1, 6, 8, 8), (6, 6, 1, 1), (3, 3, 6, 6))
    )
    nodes = [
        helper.make_node("Conv", ["x", "point"], ["before"]),
        helper.make_node("WinogradConv2d", ["before", "taps"], ["between"], domain="rsvl"),
        helper.make_node("Conv", ["between", "point"], ["y"]),
    ]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "three",
        [info("x", TensorProto.FLOAT, x.shape)],
        [info("y", TensorProto.FLOAT, x.shape)],
        [numpy_helper.from_array(point, "point"), numpy_helper.from_array(taps, "taps")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    add_functions(model)
    onnx.save(model, tmp_path / "three.onnx")
    parts = divide(read_model(openvino.Core(), tmp_path / "three.onnx")[0], set())
    assert [(products(part) > 0, exact) for part, exact in parts] == [(False, False), (True, True), (False, False)]
    h = torch.conv2d(*(torch.from_numpy(array).double() for array in (x, point)))
    h = torch.conv2d(h, torch.from_numpy(taps).double().permute(2, 3, 0, 1), padding=1)
    expected = torch.conv2d(h, torch.from_numpy(point).double()).numpy()
    np.testing.assert_allclose(run(parts, {"x": x})["y"], expected, atol=1e-4 * np.abs(expected).max())
