"""What a machine can do at most: each library really multiplies, the fastest is the ceiling, shares have reasons."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from rsvl.benchmarks.bundle import ceilings, matrix_products
from rsvl.benchmarks.bundle.ceilings import Product, fastest
from rsvl.benchmarks.bundle.executed import executed_macs
from rsvl.benchmarks.bundle.matrix_products import product_graph
from rsvl.benchmarks.bundle.report import Shares
from rsvl.benchmarks.bundle.subprocess_json import run_json
from rsvl.export.symbolics import add_functions
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.manifest import GraphSpec, Manifest, TensorSpec
from tests.support.installed import needs
from tests.support.toy_bundle import toy_spec, write_bundle, write_manifest


@pytest.mark.parametrize(
    ("library", "types"),
    [
        ("numpy", {"fp32"}),
        pytest.param("torch", {"fp32", "bf16"}, marks=needs("torch")),
        ("onnxruntime", {"fp32", "int8"}),
        pytest.param("openvino", {"fp32", "int8"}, marks=needs("openvino")),
    ],
)
def test_every_library_multiplies_its_types(library: str, types: set[str]) -> None:
    found = matrix_products.measure(library, threads=1, side=64)
    assert types <= set(found) <= {"fp32", "bf16", "int8"} and min(found.values()) > 0


@pytest.mark.parametrize(
    ("operation", "left", "right"), [("MatMul", np.float32, np.float32), ("MatMulInteger", np.uint8, np.int8)]
)
def test_product_graph_is_valid_and_multiplies(operation: str, left: type, right: type) -> None:
    a, b = (np.random.default_rng(seed).integers(0, 100, (5, 5)) for seed in (0, 1))
    graph = product_graph(operation, a.astype(left), b.astype(right))
    onnx.checker.check_model(onnx.load_from_string(graph))
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(None, {"a": a.astype(left)})[0], a @ b)


def test_fastest_library_is_the_ceiling_of_each_type() -> None:
    measured = {"fp32": {"numpy": 56.0, "torch": 90.0, "openvino": 210.0}, "int8": {"onnxruntime": 800.0}}
    assert fastest(measured, ["AVX2", "AVX-512", "VNNI (int8)"]) == {
        "fp32": Product(210.0, "openvino", "AVX-512", {"numpy": 56.0, "torch": 90.0}),
        "int8": Product(800.0, "onnxruntime", "VNNI (int8)", {}),
    }


def test_library_that_is_not_here_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "LIBRARIES", ("numpy", "openvino"))
    answers = {"numpy": {"fp32": 50.0}, "openvino": {}, "1": 9.0}
    monkeypatch.setattr(ceilings, "run_json", lambda command, *_: answers[command[2]])
    found = ceilings.cpu_ceilings(1)
    assert list(found.products) == ["fp32"] and found.copy_gb_s == 9.0


def test_variables_that_slow_a_library_do_not_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    program = "import json, os; print(json.dumps(os.environ.get('OPENBLAS_CORETYPE')))"
    assert run_json(["-c", program], "", without=ceilings._SLOWED) is None
    assert run_json(["-c", program], "") == os.environ["OPENBLAS_CORETYPE"]


def test_copy_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "COPIED", 3 * 2**10)
    assert ceilings.measure_copy(threads=2) > 0


@pytest.mark.parametrize(
    ("defined", "computed", "shares", "reasons"),
    [
        (50, 25, (0.5, 0.25), {}),
        (150, 60, (1.5, 0.6), {"matrix": "0.40 of these operations"}),
        (150, None, (1.5, None), {"matrix": "not counted here"}),
        (150, 120, (1.5, 1.2), {"matrix": "0.80 of these", "matrix_computed": "under more load"}),
        (None, None, (None, None), {}),
    ],
)
def test_share_above_the_ceiling_has_its_reason(
    defined: int | None, computed: int | None, shares: tuple[float | None, float | None], reasons: dict[str, str]
) -> None:
    found = Shares.of(2.0, 50.0, "fp32", defined, computed, 0.1)
    assert (found.matrix, found.matrix_computed) == shares
    assert set(found.why) == set(reasons) and all(text in found.why[name] for name, text in reasons.items())


def one_graph(folder: Path, nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray], x: tuple[int, ...]) -> Bundle:
    """A bundle of one graph from x to y."""
    spec = GraphSpec("only", (TensorSpec("x", ("batch", *x)),), (TensorSpec("y", ("batch", "n")),), "only.onnx")
    info = helper.make_tensor_value_info
    ends = [[info("x", onnx.TensorProto.FLOAT, ["batch", *x])], [info("y", onnx.TensorProto.FLOAT, None)]]
    constants = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "only", *ends, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    add_functions(model)
    write_bundle(folder)
    onnx.save(model, folder / "only.onnx")
    write_manifest(folder, Manifest(replace(toy_spec(), task="own", images=(), text=None, graphs=(spec,)), "fp32"))
    return Bundle(folder)


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_operations_are_counted_as_the_formulas_say(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["h"], pads=[1, 1, 1, 1]),  # 16·8·8 values, each of 3·3·3 products
        helper.make_node("Conv", ["h", "depthwise"], ["d"], pads=[1, 1, 1, 1], group=16),  # 16·8·8 of 3·3
        helper.make_node("Reshape", ["d", "rows"], ["r"]),  # [16, 64]
        helper.make_node("MatMul", ["r", "matrix"], ["m"]),  # 16·5 of 64
        helper.make_node("Gemm", ["m", "other"], ["y"], transA=1, transB=1),  # 5·6 of 16
    ]
    weights = {"kernel": floats(16, 3, 3, 3), "depthwise": floats(16, 1, 3, 3), "rows": np.array([16, 64])}
    weights |= {"matrix": floats(64, 5), "other": floats(6, 16)}
    bundle = one_graph(tmp_path / "b", nodes, weights, (3, 8, 8))
    expected = 16 * 64 * 27 + 16 * 64 * 9 + 16 * 5 * 64 + 5 * 6 * 16
    assert executed_macs(bundle, {"x": floats(1, 3, 8, 8)}) == expected


def test_convolution_in_winograds_form_counts_what_it_multiplies(tmp_path: Path) -> None:
    channels, side = 32, 16
    nodes = [helper.make_node("WinogradConv2d", ["x", "taps"], ["y"], domain="rsvl")]
    bundle = one_graph(tmp_path / "b", nodes, {"taps": floats(3, 3, channels, channels)}, (channels, side, side))
    found = executed_macs(bundle, {"x": floats(1, channels, side, side)})
    products = 36 * channels * channels * (side // 4) ** 2  # F(4×4, 3×3): 36 for every 4×4 pixels
    assert found is not None and products <= found < 9 * channels * channels * side * side


def test_products_that_cannot_be_counted_are_not_guessed(tmp_path: Path) -> None:
    nodes = [helper.make_node("Einsum", ["x", "matrix"], ["y"], equation="bij,jk->bik")]
    bundle = one_graph(tmp_path / "b", nodes, {"matrix": floats(4, 5)}, (3, 4))
    assert executed_macs(bundle, {"x": floats(1, 3, 4)}) is None


def test_measuring_products_needs_no_pytorch() -> None:
    program = "import sys, rsvl.benchmarks.bundle.matrix_products; print({'torch', 'openvino'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
