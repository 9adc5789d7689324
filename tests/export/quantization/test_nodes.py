"""Quantize and dequantize nodes: their values against formulas in float64, and what stays as it was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper, numpy_helper
from torch.nn.functional import conv2d

from rsvl.export.graphs import OPSET
from rsvl.export.quantization.layers import Layer, layers_of
from rsvl.export.quantization.qdq import quantize_weight, quantized
from rsvl.export.quantization.ranges import ActivationStats, ranges
from rsvl.export.quantization.smoothing import factors, smooth, smoothable
from rsvl.export.quantization.types import FP8
from rsvl.export.symbolics import add_functions

WIDTH, WORDS = 48, 7
BATCH = ("batch", WORDS, WIDTH)


def chain(residual: bool = False) -> onnx.ModelProto:
    """A layer norm, two linear layers on it and one on their sum; `residual` adds the norm's output to the sum."""
    rng = np.random.default_rng(1)
    values = {
        "gain": rng.uniform(0.1, 9, WIDTH) * np.where(np.arange(WIDTH) % 11 == 0, 40, 1),
        "shift": rng.normal(size=WIDTH),
        "first": rng.normal(size=(WIDTH, 40)) / 7,
        "second": rng.normal(size=(WIDTH, 40)) / 7,
        "third": rng.normal(size=(40, WIDTH)) / 7,
        "small": rng.normal(size=(WIDTH, 2)),
    }
    nodes = [
        helper.make_node("LayerNormalization", ["x", "gain", "shift"], ["normed"], axis=-1),
        helper.make_node("MatMul", ["normed", "first"], ["a"], name="one"),
        helper.make_node("MatMul", ["normed", "second"], ["b"], name="two"),
        helper.make_node("Add", ["a", "b"], ["sum"]),
        helper.make_node("MatMul", ["sum", "third"], ["wide"], name="three"),
        helper.make_node("Add", ["wide", "normed"], ["added"]) if residual else None,
        helper.make_node("MatMul", ["added" if residual else "wide", "small"], ["y"], name="four"),
    ]
    return _model([node for node in nodes if node], BATCH, ("batch", WORDS, 2), values)


def convolutions() -> onnx.ModelProto:
    """Two convolutions, the second of which gives the graph's output, with biases."""
    rng = np.random.default_rng(2)
    values = {
        "w1": rng.normal(size=(16, 8, 3, 3)) * 2.0 ** rng.integers(-3, 3, (16, 1, 1, 1)),
        "b1": rng.normal(size=16),
        "w2": rng.normal(size=(8, 16, 3, 3)),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["h"], name="one", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Conv", ["r", "w2"], ["y"], name="two", pads=[1, 1, 1, 1]),
    ]
    return _model(nodes, ("batch", 8, 6, 6), ("batch", 8, 6, 6), values)


def _model(nodes: Iterable[onnx.NodeProto], x: tuple, y: tuple, values: dict[str, np.ndarray]) -> onnx.ModelProto:
    ends = [helper.make_tensor_value_info(name, 1, shape) for name, shape in (("x", x), ("y", y))]
    weights = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in values.items()]
    graph = helper.make_graph(list(nodes), "g", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)


def run(model: onnx.ModelProto, x: np.ndarray, optimized: bool = True) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def kernels(model: onnx.ModelProto, folder: Path) -> Counter[str]:
    """How often ONNX Runtime runs each operation, after its own rewriting."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(folder / "optimized.onnx"), 3
    onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(folder / "optimized.onnx").graph.node)


def through_int8(values: np.ndarray, largest: np.ndarray | float) -> np.ndarray:
    """What is left of numbers after symmetric int8, in float64; QuantizeLinear saturates at -128."""
    scale = np.asarray(largest, np.float64) / 127
    return np.clip(np.round(values.astype(np.float64) / scale), -128, 127) * scale


@pytest.mark.parametrize(
    ("shape", "axis"), [((16, 8, 3, 3), 0), ((40, 30), 1), ((3, 3, 3, 8, 4), 3), ((1, 5), 0), ((6, 1, 3, 3), 0)]
)
def test_weight_is_within_half_a_step_of_each_channel(shape: tuple[int, ...], axis: int) -> None:
    rng = np.random.default_rng(0)
    weight = (rng.normal(size=shape) * 10.0 ** rng.integers(-4, 4, shape)).astype(np.float32)
    values, scales = quantize_weight(weight, axis)
    assert values.dtype == np.int8 and values.min() >= -127
    by_channel, steps = np.moveaxis(weight.astype(np.float64), axis, 0), np.moveaxis(values, axis, 0)
    for channel, numbers, scale in zip(by_channel, steps, scales.astype(np.float64), strict=True):
        assert np.abs(numbers * scale - channel).max() <= scale * (0.5 + 1e-5)
        assert scale == pytest.approx(np.abs(channel).max() / 127, rel=1e-6)


def test_fp8_weight_is_the_nearest_of_torchs_numbers() -> None:
    rng = np.random.default_rng(0)
    weight = (rng.normal(size=(16, 8, 3, 3)) * 10.0 ** rng.integers(-4, 4, (16, 1, 1, 1))).astype(np.float32)
    values, scales = quantize_weight(weight, 0, FP8)
    steps = torch.from_numpy(weight / scales.reshape(-1, 1, 1, 1))
    np.testing.assert_array_equal(values.astype(np.float32), steps.to(torch.float8_e4m3fn).float().numpy())
    assert (np.abs(values.astype(np.float32)).max(axis=(1, 2, 3)) == 448).all()


def test_linear_layers_and_convolutions_compute_with_what_fp8_leaves() -> None:
    def through_fp8(values: np.ndarray, scale: np.ndarray | float) -> np.ndarray:
        steps = torch.from_numpy(np.clip(values / scale, -448, 448).astype(np.float32))
        return steps.to(torch.float8_e4m3fn).double().numpy() * scale

    model, largest = convolutions(), {"x": 3.5, "h": 7.0, "r": 7.0}
    layers = layers_of("g", model, {}, outputs=["y"], kind=FP8)
    assert [bool(layer.takes) for layer in layers] == [
        True,
        True,
    ]  # of a final output too, whose values are not rounded
    fp8 = quantized(model, layers, largest, FP8)
    onnx.checker.check_model(fp8, full_check=True)
    x = np.random.default_rng(5).normal(size=(2, 8, 6, 6)).astype(np.float32)
    weights = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}

    def convolved(taken: np.ndarray, weight: np.ndarray, range_: float) -> torch.Tensor:
        scales = np.abs(weight).max(axis=(1, 2, 3), keepdims=True).astype(np.float32) / np.float32(448)
        pair = through_fp8(taken, np.float32(range_) / np.float32(448)), through_fp8(weight, scales)
        return conv2d(*map(torch.from_numpy, map(np.float64, pair)), padding=1)

    inner = convolved(x, weights["w1"], 3.5) + torch.from_numpy(weights["b1"].astype(np.float64)).reshape(-1, 1, 1)
    middle = inner.relu().numpy().astype(np.float32)
    np.testing.assert_allclose(run(fp8, x, optimized=False), convolved(middle, weights["w2"], 7.0), rtol=0, atol=0.05)


def test_channel_of_zeros_stays_zero() -> None:
    values, scales = quantize_weight(np.zeros((2, 600), np.float32), 0)
    assert not values.any() and np.isfinite(scales).all() and (scales > 0).all()


@pytest.mark.parametrize("optimized", [False, True], ids=["as written", "fused by ONNX Runtime"])
def test_linear_layer_computes_the_product_of_the_int8_numbers(optimized: bool) -> None:
    rng = np.random.default_rng(3)
    weight = rng.normal(size=(WIDTH, 40)) * 10.0 ** rng.integers(-2, 2, 40)
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="n")
    model = _model([node], BATCH, ("batch", WORDS, 40), {"w": weight})
    x = (2 * rng.normal(size=(2, WORDS, WIDTH))).astype(np.float32)
    largest = 127 / 32  # some numbers are beyond it; a power of two as scale leaves no doubt about what rounds where
    int8 = quantized(model, layers_of("g", model, {}), {"x": largest})
    expected = through_int8(x, largest) @ through_int8(weight.astype(np.float32), np.abs(weight).max(axis=0))
    np.testing.assert_allclose(run(int8, x, optimized), expected, rtol=1e-4, atol=1e-4)


def test_convolution_passes_its_output_through_int8_too_unless_it_is_a_final_one() -> None:
    model = convolutions()
    first, second = layers_of("g", model, {}, outputs=("y",))
    assert (first.takes, first.gives, first.axis) == ("x", "h", 0)
    assert (second.takes, second.gives) == ("", "")  # its weights only
    x = np.random.default_rng(0).normal(size=(3, 8, 6, 6)).astype(np.float32)
    int8 = quantized(model, [first, second], ActivationStats(model, ["x", "h"], [], [{"x": x}]).peaks)
    onnx.checker.check_model(int8, full_check=True)
    kinds = [node.op_type for node in int8.graph.node]
    assert kinds.count("QuantizeLinear") == 2 and kinds.count("DequantizeLinear") == 4
    (made,) = [node.op_type for node in int8.graph.node if "h" in node.output]
    assert made == "DequantizeLinear"
    assert [o.type.tensor_type.elem_type for o in (*int8.graph.input, *int8.graph.output)] == [1, 1]
    reference = run(model, x)
    difference = np.abs(run(int8, x) - reference).max() / np.abs(reference).max()
    assert 0 < difference < 0.03


def test_layers_run_in_int8_kernels_also_where_they_share_what_they_take(tmp_path: Path) -> None:
    model, x = chain(), np.random.default_rng(5).normal(size=(3, WORDS, WIDTH)).astype(np.float32)
    layers = layers_of("g", model, {})
    int8 = quantized(model, layers, ActivationStats(model, ["normed", "sum"], [], [{"x": x}]).peaks)
    onnx.checker.check_model(int8, full_check=True)
    assert kernels(int8, tmp_path)["MatMulIntegerToFloat"] == len(layers) == 3


def test_convolutions_with_gelu_between_run_in_int8_kernels_but_for_one_with_two_readers(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    values = {name: rng.normal(size=(16, 16, 3, 3)) for name in ("w1", "w2", "w3", "w4")}
    nodes = []
    for number, taken in enumerate(("x", "g1", "g2", "g2"), start=1):
        nodes.append(helper.make_node("Conv", [taken, f"w{number}"], [f"c{number}"], name=str(number), pads=[1] * 4))
        nodes.append(helper.make_node("Gelu", [f"c{number}"], [f"g{number}"]))
    model = _model(
        [*nodes, helper.make_node("Sum", ["g3", "g4", "c4"], ["y"])], ("batch", 16, 6, 6), ("batch", 16, 6, 6), values
    )
    layers = layers_of("g", model, {})
    assert [bool(layer.takes) for layer in layers] == [True, True, True, False]
    x = rng.normal(size=(1, 16, 6, 6)).astype(np.float32)
    tensors = [name for layer in layers for name in (layer.takes, layer.gives) if name]
    peaks = ActivationStats(model, tensors, [], [{"x": x}]).peaks
    assert kernels(quantized(model, layers, peaks), tmp_path)["QLinearConv"] == 3


def test_custom_operation_keeps_its_node_and_body_and_gets_int8_weights() -> None:
    rng = np.random.default_rng(7)
    values = {
        "weight": rng.normal(size=(40, WIDTH)),
        "a": rng.normal(size=(3, 2, WIDTH)) / 9,
        "b": rng.normal(size=(3, 40, 2)) / 9,
        "gate": rng.uniform(size=(1, 1, 3)),
    }
    node = helper.make_node("LoRAMoE", ["x", *values], ["y"], name="experts", domain="rsvl")
    model = _model([node], BATCH, ("batch", WORDS, 40), values)
    add_functions(model)
    (layer,) = layers_of("g", model, {})
    assert (layer.weight, layer.axis, layer.takes) == ("weight", 0, "")
    int8 = quantized(model, [layer], {})
    onnx.checker.check_model(int8, full_check=True)
    assert [each.op_type for each in int8.graph.node] == ["DequantizeLinear", "LoRAMoE"]
    assert [function.name for function in int8.functions] == ["LoRAMoE"]
    x = rng.normal(size=(2, WORDS, WIDTH)).astype(np.float32)
    weight = values["weight"].astype(np.float32)
    lost = x.astype(np.float64) @ (through_int8(weight.T, np.abs(weight).max(axis=1)) - weight.T)
    np.testing.assert_allclose(run(int8, x, optimized=False) - run(model, x, optimized=False), lost, atol=2e-5)


def test_weights_alone_leave_activations_alone() -> None:
    model = convolutions()
    int8 = quantized(model, layers_of("g", model, {}), {})
    assert {node.op_type for node in int8.graph.node} == {"DequantizeLinear", "Conv", "Relu"}
    assert len(int8.SerializeToString()) < 0.4 * len(model.SerializeToString())


def test_small_layers_and_kept_ones_and_products_of_activations_stay_float() -> None:
    model = chain()
    assert [layer.node for layer in layers_of("g", model, {})] == ["one", "two", "three"]
    one = next(node for node in model.graph.node if node.name == "one")
    one.metadata_props.add(
        key="namespace", value=": a.B/inner: c.D/inner.model.head.score: torch.nn.Linear/linear: aten"
    )
    assert layers_of("g", model, {})[0].path == "head.score"
    for kept in ("head", "head.score", "*.score"):
        assert [layer.node for layer in layers_of("g", model, {kept: "why"})] == ["two", "three"]


def test_macs_are_counted_for_one_sample() -> None:
    model, feed = convolutions(), {"x": np.ones((3, 8, 6, 6), np.float32)}
    stats = ActivationStats(model, ["x", "h"], [], [feed])
    assert stats.elements == {"x": 8 * 36, "h": 16 * 36}
    assert layers_of("g", model, {})[0].macs(stats.elements) == 36 * 16 * 8 * 9
    linear = Layer("g", "n", "", "w", 1, 40 * 30, takes="t", macs_per_element=30)
    assert linear.macs({"t": 5 * 40}) == 5 * 40 * 30


def test_smoothing_changes_no_bit_of_the_float_function_and_evens_the_channels_out() -> None:
    model, x = chain(), np.random.default_rng(4).normal(size=(3, WORDS, WIDTH)).astype(np.float32)
    before = run(model, x, optimized=False)
    (norm,) = smoothable(model, layers_of("g", model, {}))
    assert (norm.output, norm.weights) == ("normed", ("first", "second"))
    stats = ActivationStats(model, [], ["normed"], [{"x": x}])
    told = smooth(model, [norm], stats.channels)
    np.testing.assert_array_equal(run(model, x, optimized=False), before)
    after = ActivationStats(model, [], ["normed"], [{"x": x}])
    np.testing.assert_array_equal(told["normed"], after.channels["normed"])

    def spread(channels: np.ndarray) -> float:
        return float(channels.max() / np.median(channels))

    assert spread(after.channels["normed"]) < 0.5 * spread(stats.channels["normed"])


def test_norm_that_something_else_takes_as_well_is_left_alone() -> None:
    model = chain(residual=True)
    assert smoothable(model, layers_of("g", model, {})) == []


def test_smoothing_factors_are_the_papers_to_the_nearest_power_of_two() -> None:
    rng = np.random.default_rng(5)
    activations, weights = (10.0 ** rng.uniform(-2, 2, 99) for _ in range(2))
    exact = np.sqrt(activations / weights)
    ratio = factors(activations, weights).astype(np.float64) / (exact / np.median(exact))
    assert (np.abs(np.log2(ratio)) <= 0.5 + 1e-6).all()
    assert factors(np.array([0.0, 1.0]), np.array([1.0, 1.0])).tolist() == [1.0, 1.0]  # a channel that is never used


@pytest.mark.parametrize("calibrator", ["minmax", "percentile", "entropy"])
def test_range_is_the_largest_value_or_leaves_out_what_is_rare(calibrator: str) -> None:
    rng, model = np.random.default_rng(6), chain()
    runs = [{"x": rng.normal(size=(500, WORDS, WIDTH)).astype(np.float32)} for _ in range(4)]  # 672 000 numbers
    runs[2]["x"][0, 0, 0] = -60
    peaks = ActivationStats(model, ["x", "sum"], [], runs).peaks
    found = ranges(model, peaks, runs, calibrator)
    assert peaks["x"] == 60 and set(found) == {"x", "sum"}
    if calibrator == "minmax":
        assert found == peaks
    else:
        most = 6 if calibrator == "percentile" else 30  # a quarter of the peak is the least that entropy looks at
        assert 2 < found["x"] < most and found["sum"] <= 1.001 * peaks["sum"]
