"""One table of cases for `rsvl::SelectiveScan`, through every language it speaks, against a float64 loop."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch

from rsvl.benchmarks.count import Macs, count_call
from rsvl.benchmarks.laboratory.selective_scan_case import ScanArrays, SelectiveScanCase
from rsvl.export.symbolics import add_functions
from rsvl.ops import selective_scan
from rsvl.runtime.errors import UsageError
from tests.support.in_onnxruntime import session
from tests.support.in_openvino import only_output

CASES = {
    "short steps": SelectiveScanCase(1, 6, 50),
    "batch, few states": SelectiveScanCase(3, 5, 20, 4),
    "long": SelectiveScanCase(1, 8, 1024),
    "wide steps, long": SelectiveScanCase(2, 4, 600, steps="wide"),
    "steps of zero": SelectiveScanCase(2, 3, 30, steps="stopped"),
    "one token": SelectiveScanCase(2, 5, 1),
    "one of everything": SelectiveScanCase(1, 1, 1, 1),
}
NAMES = ("x", "dt", "A", "B", "C", "D")


def reference(arrays: ScanArrays) -> np.ndarray:
    """The definition, token by token, in float64."""
    x, dt, A, B, C, D = arrays
    h, y = np.zeros((x.shape[0], *A.shape)), np.zeros_like(x)
    for t in range(x.shape[2]):
        step = dt[:, :, t, None]
        h = np.exp(step * A) * h + step * x[:, :, t, None] * B[:, None, :, t]
        y[:, :, t] = (h * C[:, None, :, t]).sum(axis=2) + D * x[:, :, t]
    return y


def as_tensors(arrays: ScanArrays, dtype: torch.dtype, rates: torch.dtype) -> list[torch.Tensor]:
    """x, B and C in one dtype; dt, A and D in another."""
    dtypes = {"dt": rates, "A": rates, "D": rates}
    return [torch.from_numpy(a).to(dtypes.get(name, dtype)) for name, a in zip(NAMES, arrays, strict=True)]


def in_torch(dtype: torch.dtype, rates: torch.dtype | None = None) -> Callable[[ScanArrays], np.ndarray]:
    return lambda arrays: selective_scan(*as_tensors(arrays, dtype, rates or dtype)).numpy()


def compiled(arrays: ScanArrays) -> np.ndarray:
    torch.compiler.reset()
    function = torch.compile(selective_scan, backend="aot_eager", fullgraph=True)
    return function(*as_tensors(arrays, torch.float64, torch.float64)).numpy()


def onnx_model(arrays: ScanArrays, dtype: type = np.float32, rates: type = np.float32) -> onnx.ModelProto:
    """A graph of the one node, dynamic batch and length, A and D as initializers."""
    x, _, A, B, _, D = arrays
    of, wide = (onnx.helper.np_dtype_to_tensor_dtype(np.dtype(t)) for t in (dtype, rates))
    tokens, reads = ["batch", x.shape[1], "length"], ["batch", B.shape[1], "length"]
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("SelectiveScan", NAMES, ["y"], domain="rsvl")],
        "selective_scan",
        [info("x", of, tokens), info("dt", wide, tokens), info("B", of, reads), info("C", of, reads)],
        [info("y", of, tokens)],
        [onnx.numpy_helper.from_array(w.astype(rates), name) for name, w in (("A", A), ("D", D))],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    add_functions(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def feeds(arrays: ScanArrays, dtype: type = np.float32, rates: type = np.float32) -> dict[str, np.ndarray]:
    given = dict(zip(NAMES, arrays, strict=True))
    return {name: given[name].astype(rates if name == "dt" else dtype) for name in ("x", "dt", "B", "C")}


def in_onnx(dtype: type, rates: type) -> Callable[[ScanArrays], np.ndarray]:
    return lambda arrays: session(onnx_model(arrays, dtype, rates)).run(None, feeds(arrays, dtype, rates))[0]


def in_openvino(arrays: ScanArrays) -> np.ndarray:
    return only_output(onnx_model(arrays), feeds(arrays))


#: How to run it, the types of x, B and C and of dt, A and D as they reach it, and the error allowed relative to the
#: largest value. The reference takes the rounded inputs, so that half precision is held to its own rounding of y.
LANGUAGES = {
    "torch float64": (in_torch(torch.float64), np.float64, np.float64, 1e-13),
    "torch float32": (in_torch(torch.float32), np.float32, np.float32, 2e-6),
    "torch float16, rates float32": (in_torch(torch.float16, torch.float32), np.float16, np.float32, 6e-4),
    "torch compiled": (compiled, np.float64, np.float64, 1e-13),
    "onnx float32": (in_onnx(np.float32, np.float32), np.float32, np.float32, 2e-6),
    "onnx float16": (in_onnx(np.float16, np.float16), np.float16, np.float16, 6e-4),
    "onnx float16, rates float32": (in_onnx(np.float16, np.float32), np.float16, np.float32, 6e-4),
    "onnx float32 in OpenVINO": (in_openvino, np.float32, np.float32, 2e-6),
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_selective_scan_in_every_language_equals_the_definition(case: SelectiveScanCase, language: str) -> None:
    run, dtype, rates, tolerance = LANGUAGES[language]
    dtypes = [dtype, rates, rates, dtype, dtype, rates]
    arrays = tuple(a.astype(to).astype(np.float64) for a, to in zip(case.arrays(), dtypes, strict=True))
    expected = reference(arrays)
    y = run(arrays)
    assert y.shape == expected.shape
    assert np.abs(y - expected).max() <= tolerance * np.abs(expected).max()


def test_exported_node_serves_any_batch_and_length() -> None:
    exported = SelectiveScanCase(1, 6, 9).arrays()
    run = session(onnx_model(exported))
    for batch, length in ((4, 1), (2, 33)):
        other = SelectiveScanCase(batch, 6, length, steps="wide").arrays()
        arrays = (*other[:2], exported[2], *other[3:5], exported[5])
        y = run.run(None, feeds(arrays))[0]
        np.testing.assert_allclose(y, reference(arrays), atol=1e-5)


@pytest.mark.parametrize("name", ["batch, few states", "steps of zero", "one token"])
def test_gradients_equal_finite_differences(name: str) -> None:
    batch, channels, length, states, steps = CASES[name]
    arrays = SelectiveScanCase(batch, min(channels, 2), min(length, 7), min(states, 3), steps).arrays()
    inputs = [torch.from_numpy(array).requires_grad_() for array in arrays]
    assert torch.autograd.gradcheck(selective_scan, inputs)


def test_gradients_of_many_samples_are_those_of_each_alone() -> None:
    case = SelectiveScanCase(10, 64, 256)  # more states than the backward pass looks at at once
    tensors = [tensor.requires_grad_() for tensor in as_tensors(case.arrays(), torch.float32, torch.float32)]
    weight = torch.randn(10, 64, 256, generator=torch.Generator().manual_seed(1))
    together = torch.autograd.grad((selective_scan(*tensors) * weight).sum(), tensors)
    alone = [
        torch.autograd.grad((selective_scan(*_sample(tensors, k)) * weight[k : k + 1]).sum(), tensors)
        for k in range(10)
    ]
    for found, parts in zip(together, zip(*alone, strict=True), strict=True):
        torch.testing.assert_close(found, torch.stack(parts).sum(0), rtol=1e-4, atol=1e-3)


def _sample(tensors: list[torch.Tensor], k: int) -> list[torch.Tensor]:
    return [tensor[k : k + 1] if tensor.dim() == 3 else tensor for tensor in tensors]


def test_gradients_in_half_precision_have_the_inputs_dtypes_and_their_values() -> None:
    arrays = SelectiveScanCase(2, 4, 30, steps="wide").arrays()
    inputs = [t.requires_grad_() for t in as_tensors(arrays, torch.bfloat16, torch.float32)]
    exact = [t.detach().double().requires_grad_() for t in inputs]
    found = torch.autograd.grad(selective_scan(*inputs).float().square().sum(), inputs)
    expected = torch.autograd.grad(selective_scan(*exact).square().sum(), exact)
    for gradient, of, right in zip(found, inputs, expected, strict=True):
        assert gradient.dtype == of.dtype
        assert (gradient - right).abs().max() <= 0.02 * right.abs().max()


def test_operation_passes_the_library_checks_of_schema_and_shape_inference() -> None:
    arrays = SelectiveScanCase(2, 3, 5, 2).arrays()
    torch.library.opcheck(
        torch.ops.rsvl.selective_scan.default,
        tuple(torch.from_numpy(array).requires_grad_() for array in arrays),
        test_utils=("test_schema", "test_faketensor", "test_aot_dispatch_static", "test_autograd_registration"),
    )


def test_macs_are_the_read_outs() -> None:
    tensors = [torch.empty(a.shape, device="meta") for a in SelectiveScanCase(1, 6, 50, 4).arrays()]
    counted = count_call(torch.nn.Module(), lambda: selective_scan(*tensors))
    assert sum(counted.values(), Macs()) == Macs(attention=6 * 50 * 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": (2, 3)}, r"x \[B, D, L\]"),
        ({"dt": (2, 3, 4)}, r"dt must be \[2, 3, 5\].*dt \[2, 3, 4\]"),
        ({"A": (4, 2)}, r"A must be \[3, 2\]"),
        ({"B": (2, 3, 5)}, r"B must be \[2, 2, 5\]"),
        ({"C": (1, 2, 5)}, r"C must be \[2, 2, 5\]"),
        ({"D": (3, 1)}, r"D must be \[3\]"),
        ({"dtype": torch.int64}, "x is torch.int64: give floating-point"),
    ],
)
def test_arguments_that_do_not_fit_raise_an_error_that_names_them(change: dict, message: str) -> None:
    shapes = {"x": (2, 3, 5), "dt": (2, 3, 5), "A": (3, 2), "B": (2, 2, 5), "C": (2, 2, 5), "D": (3,), **change}
    with pytest.raises(UsageError, match=message) as error:
        selective_scan(*(torch.zeros(shapes[name], dtype=change.get("dtype", torch.float32)) for name in NAMES))
    assert "\n" not in str(error.value)


class TwoScans(torch.nn.Module):
    """Two scans of different sizes, as models use them."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one = torch.ones(4, 3, dtype=x.dtype)
        first = selective_scan(x, x.abs(), -one, x[:, :3], x[:, 1:], one[:, 0])
        half = first[:, :2]
        return selective_scan(half, half.abs(), -one[:2, :1], x[:, :1], x[:, 1:2], one[:2, 0])


def test_export_keeps_one_node_a_scan_and_one_body_without_sizes() -> None:
    x = torch.randn(2, 4, 9, generator=torch.Generator().manual_seed(0))
    program = torch.onnx.export(
        TwoScans().eval(),
        (x,),
        dynamo=True,
        opset_version=18,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    add_functions(model)
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node if node.domain == "rsvl"] == ["SelectiveScan"] * 2
    assert [(f.name, f.overload) for f in model.functions] == [("SelectiveScan", "")]
    run = session(model)
    generator = torch.Generator().manual_seed(1)
    for batch in (1, 3):
        x = torch.randn(batch, 4, 9, generator=generator)
        y = run.run(None, {run.get_inputs()[0].name: x.numpy()})[0]
        np.testing.assert_allclose(y, TwoScans()(x.double()).numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_tensorrt_builds_an_engine_of_the_body_with_a_dynamic_batch(dtype: type) -> None:
    tensorrt = pytest.importorskip("tensorrt_rtx")
    case = SelectiveScanCase(1, 6, 9)
    logger = tensorrt.Logger(tensorrt.Logger.ERROR)
    builder = tensorrt.Builder(logger)
    network = builder.create_network()
    parser = tensorrt.OnnxParser(network, logger)
    parsed = parser.parse(onnx_model(case.arrays(), dtype).SerializeToString())
    assert parsed, [str(parser.get_error(i)) for i in range(parser.num_errors)]
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    for name, rows in (("x", 6), ("dt", 6), ("B", 16), ("C", 16)):
        profile.set_shape(name, (1, rows, 9), (2, rows, 9), (4, rows, 9))
    config.add_optimization_profile(profile)
    assert builder.build_serialized_network(network, config) is not None
