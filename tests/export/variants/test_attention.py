"""Attention as one node: what the formula says in float64, wherever the pattern is, and nothing changed elsewhere."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import numpy_helper, parser
from onnx_ir.passes.common import RemoveUnusedNodesPass

from rsvl.export.variants.attention import DOMAIN, fuse_attention

B, H, S, L, D, V = 3, 2, 5, 7, 4, 6
SCALE = 0.3

# As torch.onnx.export writes `scaled_dot_product_attention`: half of the scale at each side, K transposed through
# three dimensions by sizes read from its shape.
EXPORTED = """
    q_heads = Reshape (q, q_sizes)
    q4 = Transpose <perm = [0, 2, 1, 3]> (q_heads)
    k_heads = Reshape (k, k_sizes)
    k4 = Transpose <perm = [0, 2, 1, 3]> (k_heads)
    v_heads = Reshape (v, v_sizes)
    v4 = Transpose <perm = [0, 2, 1, 3]> (v_heads)
    shape = Shape (k4)
    last = Slice (shape, minus_one, far)
    before_last = Slice (shape, minus_two, minus_one)
    first = Slice (shape, zero, minus_two)
    three = Concat <axis = 0> (minus_one, before_last, last)
    k3 = Reshape (k4, three)
    k3t = Transpose <perm = [0, 2, 1]> (k3)
    four = Concat <axis = 0> (first, last, before_last)
    k4t = Reshape (k3t, four)
    qs = Mul (q4, root)
    ks = Mul (k4t, root)
    scores = MatMul (qs, ks)
"""
TRANSPOSED = """
    q_heads = Reshape (q, q_sizes)
    q4 = Transpose <perm = [0, 2, 1, 3]> (q_heads)
    k_heads = Reshape (k, k_sizes)
    k4t = Transpose <perm = [0, 2, 3, 1]> (k_heads)
    v_heads = Reshape (v, v_sizes)
    v4 = Transpose <perm = [0, 2, 1, 3]> (v_heads)
    products = MatMul (q4, k4t)
    scores = Mul (products, scale)
"""
FLAT = """
    weights = Softmax <axis = -1> (biased)
    y4 = MatMul (weights, v4)
    y_heads = Transpose <perm = [0, 2, 1, 3]> (y4)
    y = Reshape (y_heads, y_sizes)
"""
HEADS = """
    weights = Softmax <axis = -1> (biased)
    y = MatMul (weights, v4)
"""


def graph(body: str, bias: str = "", flat: bool = True) -> ir.Model:
    """A model of q [B, S, H·D], k, v and perhaps a bias, with a dynamic batch and the shapes that it infers."""
    taken = f", float[{bias}] bias" if bias else ""
    added = "biased = Add (scores, bias)" if bias else ""
    given = f"float[batch, {S}, {H * V}] y" if flat else f"float[batch, {H}, {S}, {V}] y"
    end = (FLAT if flat else HEADS).replace("biased", "biased" if bias else "scores")
    model = parser.parse_model(
        f"""<ir_version: 10, opset_import: ["": 20]>
        agraph (float[batch, {S}, {H * D}] q, float[batch, {L}, {H * D}] k, float[batch, {L}, {H * V}] v{taken})
        => ({given}) {{ {body} {added} {end} }}"""
    )
    constants = {
        "q_sizes": [0, 0, H, D],
        "k_sizes": [0, 0, H, D],
        "v_sizes": [0, 0, H, V],
        "y_sizes": [0, 0, H * V],
        "minus_one": [-1],
        "minus_two": [-2],
        "zero": [0],
        "far": [1 << 31],
        "root": np.float32(SCALE**0.5),
        "scale": np.float32(SCALE),
    }
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items())
    return ir.from_proto(onnx.shape_inference.infer_shapes(model))


def operands(bias: str, heads: int = H) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    sizes = {"batch": B}
    given = {
        name: rng.standard_normal((B, rows, heads * width)).astype(np.float32)
        for name, rows, width in (("q", S, D), ("k", L, D), ("v", L, V))
    }
    if bias:
        shape = [sizes.get(each) or int(each) for each in bias.split(", ")]
        given["bias"] = rng.standard_normal(shape).astype(np.float32)
        given["bias"].ravel()[1] = -np.inf  # a place that is masked
    return given


def by_formula(given: dict[str, np.ndarray]) -> np.ndarray:
    """softmax(s·Q·Kᵀ + bias)·V in float64, [B, H, S, V]."""
    q, k, v = (
        given[name].astype(np.float64).reshape(B, -1, H, width) for name, width in (("q", D), ("k", D), ("v", V))
    )
    scores = SCALE * np.einsum("bshd,blhd->bhsl", q, k) + given.get("bias", np.zeros(())).astype(np.float64)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.einsum("bhsl,blhv->bhsv", weights / weights.sum(axis=-1, keepdims=True), v)


def outputs(model: ir.Model, given: dict[str, np.ndarray]) -> np.ndarray:
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, given)[0]


def fused(model: ir.Model) -> int:
    count = fuse_attention(model.graph)
    model.graph.opset_imports[DOMAIN] = 1
    RemoveUnusedNodesPass()(model)
    return count


@pytest.mark.parametrize("flat", [True, False], ids=["[B, S, H·V]", "[B, H, S, V]"])
@pytest.mark.parametrize(
    "bias",
    ["", f"{S}, {L}", f"1, 1, {S}, {L}", f"batch, 1, {S}, {L}", f"batch, 1, 1, {L}"],
    ids=str,
)
@pytest.mark.parametrize("body", [EXPORTED, TRANSPOSED], ids=["exported", "transposed at once"])
def test_fused_attention_is_the_formula(body: str, bias: str, flat: bool) -> None:
    model, given = graph(body, bias, flat), operands(bias)
    assert fused(model) == 1
    names = [node.op_type for node in model.graph]
    assert names.count("MultiHeadAttention") == 1
    assert not {"MatMul", "Softmax"} & set(names)
    expected = by_formula(given)
    if flat:
        expected = expected.transpose(0, 2, 1, 3).reshape(B, S, H * V)
    np.testing.assert_allclose(outputs(model, given), expected, atol=2e-6)


@pytest.mark.parametrize("bias", [f"1, {H}, {S}, {L}", f"batch, {H}, {S}, {L}"], ids=str)
def test_bias_per_head_stays_as_it_is(bias: str) -> None:
    assert fused(graph(EXPORTED, bias)) == 0


@pytest.mark.parametrize("bias", ["", f"batch, {S}, {L}", f"1, {S}, {L}"], ids=str)
def test_attention_of_one_head_needs_no_heads_axis(bias: str) -> None:
    taken = f", float[{bias}] bias" if bias else ""
    model = ir.from_proto(
        onnx.shape_inference.infer_shapes(
            parser.parse_model(
                f"""<ir_version: 10, opset_import: ["": 20]>
                agraph (float[batch, {S}, {D}] q, float[batch, {L}, {D}] k, float[batch, {L}, {V}] v{taken})
                => (float[batch, {S}, {V}] y) {{
                    kt = Transpose <perm = [0, 2, 1]> (k)
                    scores = MatMul (q, kt)
                    {"biased = Add (scores, bias)" if bias else ""}
                    weights = Softmax ({"biased" if bias else "scores"})
                    y = MatMul (weights, v)
                }}"""
            )
        )
    )
    given = operands(bias, heads=1)
    assert fused(model) == 1
    q, k, v = (given[name].astype(np.float64) for name in "qkv")
    scores = q @ k.swapaxes(1, 2) + given.get("bias", np.zeros(())).astype(np.float64)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    expected = weights / weights.sum(axis=-1, keepdims=True) @ v
    np.testing.assert_allclose(outputs(model, given), expected, atol=2e-6)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Softmax <axis = -1>", "Softmax <axis = 2>"),  # over other than the keys
        ("scores = MatMul (qs, ks)", "lone = MatMul (qs, ks)\nscores = Relu (lone)"),
        ("four = Concat <axis = 0> (first, last, before_last)", "four = Shape (k4t_like)"),  # not known to transpose
        ("perm = [0, 2, 1]", "perm = [0, 1, 2]"),
    ],
    ids=["axis", "scores", "unknown sizes", "not transposed"],
)
def test_other_patterns_stay_as_they_are(old: str, new: str) -> None:
    body = EXPORTED + FLAT
    assert old in body
    changed = body.replace(old, new).replace("biased", "scores")
    model = ir.from_proto(
        parser.parse_model(
            f"""<ir_version: 10, opset_import: ["": 20]>
            agraph (float[batch, {S}, {H * D}] q, float[batch, {S}, {H * D}] k, float[batch, {S}, {H * V}] v,
                    int64[4] q_sizes, int64[4] k_sizes, int64[4] v_sizes, int64[3] y_sizes, float root, int64[1] zero,
                    int64[1] minus_one, int64[1] minus_two, int64[1] far, float[a, b, c, d] k4t_like)
            => (float[batch, {S}, {H * V}] y) {{ {changed} }}"""
        )
    )
    before = [node.op_type for node in model.graph]
    assert fuse_attention(model.graph) == 0
    assert [node.op_type for node in model.graph] == before
