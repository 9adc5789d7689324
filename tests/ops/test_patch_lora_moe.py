"""One table of cases for `rsvl::PatchLoRAMoE`, through every language it speaks, against a float64 formula."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch

from rsvl.benchmarks.laboratory.patch_lora_moe_case import Arrays, PatchLoRAMoECase
from rsvl.export.symbolics import add_functions
from rsvl.ops import patch_lora_moe
from rsvl.ops.patch_lora_moe import merges
from rsvl.runtime.errors import UsageError
from tests.support.in_onnxruntime import session
from tests.support.in_openvino import only_output

CASES = {
    "two of eight, factors in turn": PatchLoRAMoECase(12, 10, (2, 2), 8, 3, 2),
    "two of eight, factors multiplied out": PatchLoRAMoECase(12, 6, (2, 2), 8, 5, 2),
    "one of three, uneven patches": PatchLoRAMoECase(5, 4, (1, 3), 3, 2, 1),
    "all chosen": PatchLoRAMoECase(3, 4, (4, 4), 4, 1, 4),
    "none chosen": PatchLoRAMoECase(3, 4, (2, 2), 2, 2, 0),
    "one expert": PatchLoRAMoECase(4, 4, (2, 2), 1, 3, 1),
    "all patches to one": PatchLoRAMoECase(7, 6, (2, 2), 4, 2, 1, alone=True),
    "equal gates": PatchLoRAMoECase(6, 6, (2, 2), 4, 2, 2, tied=True),
    "rank 16": PatchLoRAMoECase(9, 64, (2, 2), 8, 16, 2),
    "rank 256": PatchLoRAMoECase(9, 64, (2, 2), 8, 256, 2),
}


def reference(arrays: Arrays) -> np.ndarray:
    """The definition, cell by cell and only over the experts with a gate, in float64."""
    x, up, down, gate = arrays
    y = x.copy()
    for patch, row, column in np.ndindex(x.shape[0], *x.shape[2:]):
        for expert in np.flatnonzero(gate[patch]):
            y[patch, :, row, column] += gate[patch, expert] * (up[expert] @ (down[expert] @ x[patch, :, row, column]))
    return y


def in_torch(dtype: torch.dtype, gate_dtype: torch.dtype | None = None) -> Callable[[Arrays], np.ndarray]:
    def run(arrays: Arrays) -> np.ndarray:
        *tensors, gate = (torch.from_numpy(array).to(dtype) for array in arrays)
        return patch_lora_moe(*tensors, gate.to(gate_dtype or dtype)).numpy()

    return run


def compiled(arrays: Arrays) -> np.ndarray:
    torch.compiler.reset()
    function = torch.compile(patch_lora_moe, backend="aot_eager", fullgraph=True)
    return function(*(torch.from_numpy(array) for array in arrays)).numpy()


def onnx_model(arrays: Arrays, dtype: type = np.float32, gate_dtype: type = np.float32) -> onnx.ModelProto:
    """A graph of the one node, dynamic number of patches, weights as initializers."""
    x, up, down, gate = arrays
    types = [onnx.helper.np_dtype_to_tensor_dtype(np.dtype(t)) for t in (dtype, gate_dtype)]
    info = onnx.helper.make_tensor_value_info
    attributes = {"experts": up.shape[0], "merged": int(merges(*up.shape[1:]))}
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("PatchLoRAMoE", ["x", "up", "down", "gate"], ["y"], domain="rsvl", **attributes)],
        "patch_lora_moe",
        [info("x", types[0], ["patches", *x.shape[1:]]), info("gate", types[1], ["patches", *gate.shape[1:]])],
        [info("y", types[0], ["patches", *x.shape[1:]])],
        [onnx.numpy_helper.from_array(w.astype(dtype), name) for w, name in ((up, "up"), (down, "down"))],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    add_functions(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def in_onnx(dtype: type, gate_dtype: type) -> Callable[[Arrays], np.ndarray]:
    def run(arrays: Arrays) -> np.ndarray:
        return answers(onnx_model(arrays, dtype, gate_dtype), arrays[0].astype(dtype), arrays[3].astype(gate_dtype))

    return run


def answers(model: onnx.ModelProto, x: np.ndarray, gate: np.ndarray) -> np.ndarray:
    return session(model).run(None, {"x": x, "gate": gate})[0]


def with_fixed_shapes(arrays: Arrays) -> np.ndarray:
    """The other body, which runtimes take that must know all shapes."""
    model = onnx_model(arrays)
    (chosen,) = (function for function in model.functions if function.overload == "")
    model.functions.remove(chosen)
    model.graph.node[0].overload = "fixed_shapes"
    return answers(model, arrays[0].astype(np.float32), arrays[3].astype(np.float32))


def in_openvino(arrays: Arrays) -> np.ndarray:
    return only_output(onnx_model(arrays), {"x": arrays[0].astype(np.float32), "gate": arrays[3].astype(np.float32)})


LANGUAGES = {  # how to run it, and the error allowed relative to the largest value
    "torch float64": (in_torch(torch.float64), 1e-12),
    "torch float32": (in_torch(torch.float32), 2e-6),
    "torch float16, gate float32": (in_torch(torch.float16, torch.float32), 4e-3),
    "torch compiled": (compiled, 1e-12),
    "onnx float32": (in_onnx(np.float32, np.float32), 2e-6),
    "onnx float16": (in_onnx(np.float16, np.float16), 4e-3),
    "onnx float16, gate float32": (in_onnx(np.float16, np.float32), 4e-3),
    "onnx with fixed shapes": (with_fixed_shapes, 2e-6),
    "onnx float32 in OpenVINO": (in_openvino, 2e-6),
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_patch_lora_moe_in_every_language_equals_the_definition(case: PatchLoRAMoECase, language: str) -> None:
    run, tolerance = LANGUAGES[language]
    arrays = case.arrays()
    expected = reference(arrays)
    y = run(arrays)
    assert y.shape == expected.shape
    assert np.abs(y - expected).max() <= tolerance * np.abs(expected).max()


def tensors(name: str, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    return [torch.from_numpy(array).to(dtype).requires_grad_() for array in CASES[name].arrays()]


@pytest.mark.parametrize("name", ["one of three, uneven patches", "one expert"])
def test_gradients_of_first_and_second_order_equal_finite_differences(name: str) -> None:
    inputs = tensors(name)
    assert torch.autograd.gradcheck(patch_lora_moe, inputs)
    assert torch.autograd.gradgradcheck(patch_lora_moe, inputs)


def test_operation_passes_the_library_checks_of_schema_and_shape_inference() -> None:
    torch.library.opcheck(
        torch.ops.rsvl.patch_lora_moe.default,
        tuple(tensor.detach() for tensor in tensors("equal gates")),
        test_utils=("test_schema", "test_faketensor", "test_aot_dispatch_static"),
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": (2, 3, 5)}, r"expected x \[P, C, h, w\].*x \[2, 3, 5\]"),
        ({"x": (2, 5, 2, 2)}, r"channels, experts or ranks differ.*x \[2, 5, 2, 2\]"),
        ({"up": (3, 4, 3)}, "channels, experts or ranks differ"),
        ({"down": (2, 2, 4)}, "channels, experts or ranks differ"),
        ({"gate": (2, 4)}, "3 experts"),
        ({"gate": (1, 3)}, r"gate must be \[P, E\]"),
        ({"dtype": torch.int64}, "torch.int64: give floating-point"),
    ],
)
def test_arguments_that_do_not_fit_raise_an_error_that_names_them(change: dict, message: str) -> None:
    call = {"x": (2, 4, 2, 2), "up": (3, 4, 2), "down": (3, 2, 4), "gate": (2, 3), **change}
    dtype = change.get("dtype", torch.float32)
    with pytest.raises(UsageError, match=message) as error:
        patch_lora_moe(*(torch.zeros(call[name], dtype=dtype) for name in ("x", "up", "down", "gate")))
    assert "\n" not in str(error.value)


class TwoRanks(torch.nn.Module):
    """Two layers whose bodies differ, gates by the patch's mean."""

    def __init__(self) -> None:
        super().__init__()
        for name, rank in (("narrow", 2), ("wide", 7)):
            self.register_parameter(f"{name}_up", torch.nn.Parameter(torch.randn(3, 8, rank)))
            self.register_parameter(f"{name}_down", torch.nn.Parameter(torch.randn(3, rank, 8)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate = x.mean(dim=(2, 3))[:, :3].relu()
        x = patch_lora_moe(x, self.narrow_up, self.narrow_down, gate)
        return patch_lora_moe(x, self.wide_up, self.wide_down, gate)


def test_export_keeps_one_node_a_layer_with_any_number_of_patches_and_runs_as_pytorch() -> None:
    torch.manual_seed(0)
    net = TwoRanks().eval()
    program = torch.onnx.export(
        net,
        (torch.randn(2, 8, 2, 2),),
        dynamo=True,
        opset_version=18,
        dynamic_shapes=({0: torch.export.Dim("patches")},),
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    add_functions(model)
    onnx.checker.check_model(model, full_check=True)
    nodes = [node for node in model.graph.node if node.domain == "rsvl"]
    assert [node.op_type for node in nodes] == ["PatchLoRAMoE"] * 2
    assert [f.overload for f in model.functions] == ["fixed_shapes", "0", "1"]
    run = session(model)
    for patches in (1, 5):
        x = torch.randn(patches, 8, 2, 2)
        y = run.run(None, {run.get_inputs()[0].name: x.numpy()})[0]
        np.testing.assert_allclose(y, net(x).detach().numpy(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_tensorrt_parses_the_body_of_fixed_shapes(dtype: type) -> None:
    tensorrt = pytest.importorskip("tensorrt_rtx")
    logger = tensorrt.Logger(tensorrt.Logger.ERROR)
    network = tensorrt.Builder(logger).create_network()
    parser = tensorrt.OnnxParser(network, logger)
    parsed = parser.parse(onnx_model(CASES["rank 16"].arrays(), dtype).SerializeToString())
    assert parsed, [str(parser.get_error(i)) for i in range(parser.num_errors)]
    assert tuple(network.get_output(0).shape) == (-1, 64, 2, 2)
