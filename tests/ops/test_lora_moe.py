"""One table of cases for `rsvl::LoRAMoE`, through every language it speaks, against a float64 formula; its gates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch

from rsvl.benchmarks.count import Macs, count_call
from rsvl.benchmarks.laboratory.lora_moe_case import Arrays, LoRAMoECase
from rsvl.export.symbolics import add_functions
from rsvl.modules.layers.lora_moe import LoRAMoE, load_balance_loss, take_balance_loss
from rsvl.ops import lora_moe, top_k_gate
from rsvl.runtime.errors import UsageError
from tests.support.in_onnxruntime import session
from tests.support.in_openvino import only_output

CASES = {
    "map, two of four": LoRAMoECase((2, 3, 5), 6, 7, 4, 3, 2),
    "tokens, one of three": LoRAMoECase((3, 4), 5, 8, 3, 2, 1),
    "one image": LoRAMoECase((1, 4, 4), 8, 4, 4, 2, 2),
    "one expert": LoRAMoECase((2, 6), 4, 4, 1, 3, 1),
    "rank one, all chosen": LoRAMoECase((2, 5), 3, 2, 5, 1, 5),
    "none chosen": LoRAMoECase((2, 3), 4, 5, 2, 2, 0),
    "one gate an image": LoRAMoECase((3, 2, 4), 5, 6, 2, 2, 1, gate_patches=(3, 1, 1)),
}


def reference(arrays: Arrays) -> np.ndarray:
    """The definition, patch by patch and only over the experts with a gate, in float64."""
    x, weight, a, b, gate = arrays
    gate = np.broadcast_to(gate, (*x.shape[:-1], gate.shape[-1]))
    y = np.zeros((*x.shape[:-1], weight.shape[0]))
    for place in np.ndindex(x.shape[:-1]):
        y[place] = weight @ x[place]
        for expert in np.flatnonzero(gate[place]):
            y[place] += gate[place][expert] * (b[expert] @ (a[expert] @ x[place]))
    return y


def in_torch(dtype: torch.dtype, gate_dtype: torch.dtype | None = None) -> Callable[[Arrays], np.ndarray]:
    def run(arrays: Arrays) -> np.ndarray:
        *tensors, gate = (torch.from_numpy(array).to(dtype) for array in arrays)
        return lora_moe(*tensors, gate.to(gate_dtype or dtype)).numpy()

    return run


def compiled(arrays: Arrays) -> np.ndarray:
    torch.compiler.reset()
    function = torch.compile(lora_moe, backend="aot_eager", fullgraph=True)
    return function(*(torch.from_numpy(array) for array in arrays)).numpy()


def in_module(arrays: Arrays) -> np.ndarray:
    x, weight, a, b, gate = (torch.from_numpy(array) for array in arrays)
    module = LoRAMoE(weight.shape[1], weight.shape[0], *a.shape[:2], routed=False).double()
    module.load_state_dict({"weight": weight, "a": a, "b": b, "bias": torch.zeros(len(weight))})
    return module(x, gate).detach().numpy()


def onnx_model(arrays: Arrays, dtype: type = np.float32, gate_dtype: type = np.float32) -> onnx.ModelProto:
    """A graph of the one node, dynamic batch, weights as initializers."""
    x, *weights, gate = arrays
    types = [onnx.helper.np_dtype_to_tensor_dtype(np.dtype(t)) for t in (dtype, gate_dtype)]
    info = onnx.helper.make_tensor_value_info
    names = ("weight", "a", "b")
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("LoRAMoE", ["x", *names, "gate"], ["y"], domain="rsvl")],
        "lora_moe",
        [info("x", types[0], ["batch", *x.shape[1:]]), info("gate", types[1], ["batch", *gate.shape[1:]])],
        [info("y", types[0], ["batch", *x.shape[1:-1], weights[0].shape[0]])],
        [onnx.numpy_helper.from_array(w.astype(dtype), name) for w, name in zip(weights, names, strict=True)],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    add_functions(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def in_onnx(dtype: type, gate_dtype: type) -> Callable[[Arrays], np.ndarray]:
    def run(arrays: Arrays) -> np.ndarray:
        feeds = {"x": arrays[0].astype(dtype), "gate": arrays[4].astype(gate_dtype)}
        return session(onnx_model(arrays, dtype, gate_dtype)).run(None, feeds)[0]

    return run


def in_openvino(arrays: Arrays) -> np.ndarray:
    feeds = {"x": arrays[0].astype(np.float32), "gate": arrays[4].astype(np.float32)}
    return only_output(onnx_model(arrays), feeds)


LANGUAGES = {  # how to run it, and the error allowed relative to the largest value
    "torch float64": (in_torch(torch.float64), 1e-12),
    "torch float32": (in_torch(torch.float32), 2e-6),
    "torch float16, gate float32": (in_torch(torch.float16, torch.float32), 4e-3),
    "torch compiled": (compiled, 1e-12),
    "module": (in_module, 1e-12),
    "onnx float32": (in_onnx(np.float32, np.float32), 2e-6),
    "onnx float16": (in_onnx(np.float16, np.float16), 4e-3),
    "onnx float16, gate float32": (in_onnx(np.float16, np.float32), 4e-3),
    "onnx float32 in OpenVINO": (in_openvino, 2e-6),
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_lora_moe_in_every_language_equals_the_definition(case: LoRAMoECase, language: str) -> None:
    run, tolerance = LANGUAGES[language]
    arrays = case.arrays()
    expected = reference(arrays)
    y = run(arrays)
    assert y.shape == expected.shape
    assert np.abs(y - expected).max() <= tolerance * np.abs(expected).max()


def tensors(dtype: torch.dtype = torch.float64, name: str = "map, two of four") -> list[torch.Tensor]:
    return [torch.from_numpy(array).to(dtype).requires_grad_() for array in CASES[name].arrays()]


@pytest.mark.parametrize("name", ["tokens, one of three", "one gate an image"])
def test_gradients_of_first_and_second_order_equal_finite_differences(name: str) -> None:
    inputs = tensors(name=name)
    assert torch.autograd.gradcheck(lora_moe, inputs)
    assert torch.autograd.gradgradcheck(lora_moe, inputs)


def test_autocast_computes_in_bfloat16_and_keeps_gradients_of_parameters_in_float32() -> None:
    inputs = tensors(torch.float32)
    exact = torch.autograd.grad(lora_moe(*inputs).square().sum(), inputs)
    with torch.autocast("cpu", torch.bfloat16):
        y = lora_moe(*inputs)
    assert y.dtype == torch.bfloat16
    for gradient, expected in zip(torch.autograd.grad(y.float().square().sum(), inputs), exact, strict=True):
        assert gradient.dtype == torch.float32
        assert (gradient - expected).abs().max() <= 0.05 * expected.abs().max()


def test_operation_passes_the_library_checks_of_schema_and_shape_inference() -> None:
    torch.library.opcheck(
        torch.ops.rsvl.lora_moe.default,
        tuple(tensor.detach() for tensor in tensors()),
        test_utils=("test_schema", "test_faketensor", "test_aot_dispatch_static"),
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": (2, 3, 5)}, r"input channels: x \[2, 3, 5\]"),
        ({"weight": (6, 4, 1)}, r"weight \[Cout, Cin\]"),
        ({"a": (3, 2, 9)}, r"input channels.*a \[3, 2, 9\]"),
        ({"a": (2, 4)}, r"a \[E, r, Cin\]"),
        ({"b": (3, 2, 6)}, r"b must be \[3, 6, 2\].*b \[3, 2, 6\]"),
        ({"gate": (2, 3, 4)}, "3 experts"),
        ({"gate": (2, 3)}, r"gate must be \[..., E\]"),
        ({"gate": (2, 5, 3)}, "does not broadcast"),
        ({"dtype": torch.int64}, "torch.int64: give floating-point"),
    ],
)
def test_arguments_that_do_not_fit_raise_an_error_that_names_them(change: dict, message: str) -> None:
    call = {"x": (2, 3, 4), "weight": (6, 4), "a": (3, 2, 4), "b": (3, 6, 2), "gate": (2, 3, 3), **change}
    dtype = change.get("dtype", torch.float32)
    with pytest.raises(UsageError, match=message) as error:
        lora_moe(*(torch.zeros(call[name], dtype=dtype) for name in ("x", "weight", "a", "b", "gate")))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
@pytest.mark.parametrize("steps", [1000, 3], ids=["distinct", "many ties"])
def test_top_k_gate_keeps_the_probabilities_of_the_first_k_in_a_stable_order(k: int, steps: int) -> None:
    logits = np.round(np.random.default_rng(k).uniform(-1, 1, (50, 4)) * steps) / steps
    probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = np.zeros_like(logits)
    for row, (values, given) in enumerate(zip(logits, probability, strict=True)):
        chosen = np.argsort(-values, kind="stable")[:k]
        expected[row, chosen] = given[chosen]
    np.testing.assert_allclose(top_k_gate(torch.from_numpy(logits), k).numpy(), expected, atol=1e-15)


@pytest.mark.parametrize("k", [0, 5])
def test_more_experts_than_there_are_or_none_are_refused(k: int) -> None:
    with pytest.raises(UsageError, match=f"k is {k} with 4 experts"):
        top_k_gate(torch.zeros(2, 4), k)


@pytest.mark.parametrize(
    ("shares", "expected"), [([0.25] * 4, 1.0), ([1.0, 0, 0, 0], 4.0), ([0.5, 0.5, 0, 0], 2.0)], ids=str
)
def test_load_balance_loss_is_one_for_even_use_and_the_experts_number_for_one(
    shares: list[float], expected: float
) -> None:
    favourites = np.repeat(np.arange(4), [int(8 * share) for share in shares])
    logits = torch.nn.functional.one_hot(torch.from_numpy(favourites), 4).double() * 100
    assert load_balance_loss(logits, top_k_gate(logits, 1)).item() == pytest.approx(expected)


def test_balance_is_recorded_in_training_only_and_taken_once() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(LoRAMoE(4, 6, 3, 2, top_k=2), LoRAMoE(6, 4, 5, 2))
    x = torch.randn(7, 4)
    net.eval()(x)
    assert take_balance_loss(net) is None
    net.train()(x)
    loss = take_balance_loss(net)
    assert loss is not None
    loss.backward()
    assert all(layer.router.logits.weight.grad.abs().max() > 0 for layer in net)
    assert take_balance_loss(net) is None


def test_fresh_layer_is_its_linear_layer() -> None:
    torch.manual_seed(0)
    layer, x = LoRAMoE(5, 3, 4, 2, top_k=2), torch.randn(2, 6, 5)
    torch.testing.assert_close(layer(x), torch.nn.functional.linear(x, layer.weight, layer.bias))


def test_macs_grow_with_the_total_rank_and_the_idle_ones_with_those_not_chosen() -> None:
    patches, cin, cout = 12, 10, 14
    x = torch.empty(1, patches, cin, device="meta")
    for experts, rank, top_k in ((2, 6, 1), (6, 2, 1), (6, 2, 3)):
        layer = LoRAMoE(cin, cout, experts, rank, top_k).to("meta")
        counted = sum(count_call(layer, lambda: layer(x)).values(), Macs())  # noqa: B023
        expert = patches * rank * (cin + cout)
        assert counted.layers == patches * cin * cout + experts * expert + patches * cin * experts
        assert counted.idle == (experts - top_k) * expert
        assert counted.sparse == counted.total - counted.idle


class Mixed(torch.nn.Module):
    """Two layers of different sizes, as models use them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = LoRAMoE(4, 6, 4, 2, top_k=2), LoRAMoE(6, 5, 3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x).relu())


def test_export_keeps_one_node_a_layer_and_one_body_with_dynamic_batch_and_runs_as_pytorch() -> None:
    torch.manual_seed(0)
    net = Mixed().eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_()
    program = torch.onnx.export(
        net,
        (torch.randn(2, 3, 5, 4),),
        dynamo=True,
        opset_version=18,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    add_functions(model)
    onnx.checker.check_model(model, full_check=True)
    nodes = [node for node in model.graph.node if node.domain == "rsvl"]
    assert [node.op_type for node in nodes] == ["LoRAMoE", "LoRAMoE"]
    assert [(f.name, f.overload) for f in model.functions] == [("LoRAMoE", "")]
    body = {node.op_type for function in model.functions for node in function.node}
    operators = body | {node.op_type for node in model.graph.node}
    assert not operators & {
        "Gather",
        "GatherElements",
        "GatherND",
        "ScatterElements",
        "ScatterND",
        "Loop",
        "Scan",
        "If",
    }
    products = [node.op_type for f in model.functions for node in f.node if node.op_type in ("MatMul", "Gemm")]
    assert len(products) == 3
    run = session(model)
    for batch in (1, 3):
        x = torch.randn(batch, 3, 5, 4)
        y = run.run(None, {run.get_inputs()[0].name: x.numpy()})[0]
        np.testing.assert_allclose(y, net(x).detach().numpy(), atol=1e-5, rtol=1e-5)


def test_older_opset_is_refused() -> None:
    model = onnx_model(CASES["one image"].arrays())
    del model.functions[:]
    model.opset_import[0].version = 17
    with pytest.raises(UsageError, match="needs ONNX opset 18, not 17"):
        add_functions(model)


@pytest.mark.parametrize("name", ["map, two of four", "one gate an image"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_tensorrt_parses_the_body_with_a_dynamic_batch(name: str, dtype: type) -> None:
    tensorrt = pytest.importorskip("tensorrt_rtx")
    case = CASES[name]
    logger = tensorrt.Logger(tensorrt.Logger.ERROR)
    network = tensorrt.Builder(logger).create_network()
    parser = tensorrt.OnnxParser(network, logger)
    parsed = parser.parse(onnx_model(case.arrays(), dtype).SerializeToString())
    assert parsed, [str(parser.get_error(i)) for i in range(parser.num_errors)]
    assert tuple(network.get_output(0).shape) == (-1, *case.patches[1:], case.cout)
