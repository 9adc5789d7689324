"""Bodies take the places of their operations: judged by onnx's own inliner and checker, run by ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.inliner
import onnxruntime
import pytest

from rsvl.runtime.backends.openvino.inlining import INLINED, inline_functions

X = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)

#: Each takes x float32 [3, 4] and gives y. The text is onnx.parser's.
MODELS = {
    "two calls of one body": """
        agraph (float[3,4] x) => (float[3,4] y) { h = rsvl.Twice (x)  y = rsvl.Twice (h) }
        <opset_import: ["": 20], domain: "rsvl">
        Twice (a) => (b) { t = Neg (a)  u = Sub (a, t)  b = Identity (u) }
    """,
    "an input left out": """
        agraph (float[3,4] x) => (float[3,4] y) { y = rsvl.Clamp (x) }
        <opset_import: ["": 20], domain: "rsvl">
        Clamp (a, low, high) => (b) { b = Clip (a, low, high) }
    """,
    "an output not taken": """
        agraph (float[3,4] x) => (float[3,4] y) { y, = rsvl.Both (x) }
        <opset_import: ["": 20], domain: "rsvl">
        Both (a) => (b, c) { b = Abs (a)  c = Neg (b) }
    """,
    "a graph inside of a body": """
        agraph (float[3,4] x) => (float[3,4] y) { y = rsvl.Sums (x) }
        <opset_import: ["": 20], domain: "rsvl">
        Sums (a) => (b) {
            first = Constant <value = float[4] {0.0, 0.0, 0.0, 0.0}> ()
            last, b = Scan <
                num_scan_inputs = 1,
                body = step (float[4] so_far, float[4] row) => (float[4] sum, float[4] out)
                    <float[4] half = {0.5, 0.5, 0.5, 0.5}> { s = Mul (so_far, half) sum = Add (s, row) out = Neg (sum) }
            > (first, a)
        }
    """,
    "no call at all": "agraph (float[3,4] x) => (float[3,4] y) { y = Relu (x) }",
}


def model(text: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": 20, "rsvl": 1]> {text}')


def run(found: onnx.ModelProto) -> np.ndarray:
    session = onnxruntime.InferenceSession(found.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["y"], {"x": X})[0]


@pytest.mark.parametrize("text", MODELS.values(), ids=MODELS)
def test_inlined_model_computes_what_onnxs_own_inliner_makes_of_it(text: str) -> None:
    given = model(text)
    found = onnx.load_from_string(inline_functions(given.SerializeToString()))
    onnx.checker.check_model(found, full_check=True)
    assert not found.functions and all(node.domain != "rsvl" for node in found.graph.node)
    assert [entry.domain for entry in found.opset_import] == [""]
    np.testing.assert_array_equal(run(found), run(onnx.inliner.inline_local_functions(given)))


def test_overload_of_each_node_is_followed() -> None:
    given = model("""
        agraph (float[3,4] x) => (float[3,4] y) { h = rsvl.Act (x)  y = rsvl.Act (h) }
        <opset_import: ["": 20], domain: "rsvl"> Act (a) => (b) { b = Abs (a) }
        <opset_import: ["": 20], domain: "rsvl"> Act (a) => (b) { b = Neg (a) }
    """)
    for number in (0, 1):
        given.functions[number].overload = given.graph.node[number].overload = str(number)
    found = onnx.load_from_string(inline_functions(given.SerializeToString()))
    assert [node.op_type for node in found.graph.node] == ["Abs", "Neg"]
    np.testing.assert_array_equal(run(found), -np.abs(X))


def test_names_from_a_body_say_so_and_weights_keep_theirs() -> None:
    found = onnx.load_from_string(inline_functions(model(MODELS["two calls of one body"]).SerializeToString()))
    names = [name for node in found.graph.node for name in node.output]
    assert [name for name in names if name not in "hy"] == [
        f"{INLINED}Twice.{call}.{name}" for call in (1, 2) for name in "tu"
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("agraph (float[3,4] x) => (float[3,4] y) { y = rsvl.Unknown (x) }", "Unknown has no body"),
        (
            """agraph (float[3,4] x) => (float[3,4] y) { y = rsvl.F (x) }
            <opset_import: ["": 18], domain: "rsvl"> F (a) => (b) { b = Abs (a) }""",
            "a body of opset 18 in a graph of opset 20",
        ),
        (
            """agraph (float[3,4] x) => (float[3,4] y) { y = rsvl.F <alpha = 0.5> (x) }
            <opset_import: ["": 20], domain: "rsvl"> F <alpha> (a) => (b) { b = Elu <alpha: float = @alpha> (a) }""",
            "attributes of its node",
        ),
    ],
)
def test_what_rsvl_does_not_write_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        inline_functions(model(text).SerializeToString())


@pytest.mark.parametrize("cut", [1, 7, 40])
def test_model_that_is_cut_short_is_refused(cut: int) -> None:
    with pytest.raises(ValueError, match="protobuf"):
        inline_functions(model(MODELS["two calls of one body"]).SerializeToString()[:-cut])
