"""One table of cases for `rsvl::RotatedConv2d`, through every language it speaks, against a float64 formula."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import onnx
import pytest
import torch
from scipy.ndimage import map_coordinates
from scipy.signal import correlate2d

from rsvl.export.symbolics import add_functions
from rsvl.modules.layers.rotated_conv import RotatedConv2d
from rsvl.ops import rotated_conv2d, rotation_matrix
from rsvl.runtime.errors import UsageError
from tests.support.in_onnxruntime import session
from tests.support.in_openvino import only_output

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


class Case(NamedTuple):
    """Sizes of one call, and the angles' range in degrees."""

    batch: int
    bases: int
    cin: int
    cout: int
    k: int
    height: int
    width: int
    mode: str = "bilinear"
    degrees: float = 360.0

    def arrays(self) -> Arrays:
        """x, weight, theta and gate in float64, the same in every run; gates of both signs."""
        rng = np.random.default_rng(self.batch * 100 + self.k)
        x = rng.standard_normal((self.batch, self.cin, self.height, self.width))
        weight = rng.standard_normal((self.bases, self.cout, self.cin, self.k, self.k)) / self.k
        theta = np.radians(rng.uniform(-self.degrees, self.degrees, (self.batch, self.bases)))
        theta[0, 0] = 0.0
        return x, weight, theta, rng.uniform(-1, 1, (self.batch, self.bases))


CASES = {
    "one sample": Case(1, 3, 4, 5, 3, 7, 6),
    "batch": Case(3, 3, 4, 2, 3, 6, 9),
    "one base": Case(2, 1, 2, 3, 3, 5, 5),
    "one channel, smaller than the kernel": Case(2, 2, 1, 1, 3, 1, 2),
    "1x1 kernel": Case(2, 2, 3, 3, 1, 4, 4),
    "5x5 kernel": Case(2, 2, 3, 2, 5, 6, 5),
    "7x7 kernel, one sample": Case(1, 2, 2, 3, 7, 8, 8),
    "arc": Case(3, 2, 3, 4, 3, 6, 5, "arc", 45),
    "arc, one base, one sample": Case(1, 1, 4, 4, 3, 5, 6, "arc", 40),
    "arc, any angle": Case(2, 2, 2, 2, 3, 5, 5, "arc", 180),
}


def turned(kernel: np.ndarray, theta: float, mode: str) -> np.ndarray:
    """A [k, k] kernel read at the turned positions by scipy: zeros outside, or (arc) the square's nearest point."""
    r = kernel.shape[0] // 2
    y, x = np.mgrid[-r : r + 1, -r : r + 1]
    rows = x * math.sin(theta) + y * math.cos(theta) + r
    columns = x * math.cos(theta) - y * math.sin(theta) + r
    border = {"bilinear": "grid-constant", "arc": "nearest"}[mode]
    return map_coordinates(kernel, [rows, columns], order=1, mode=border)


def reference(arrays: Arrays, mode: str) -> np.ndarray:
    """The definition, channel by channel in float64."""
    x, weight, theta, gate = arrays
    y = np.zeros((x.shape[0], weight.shape[1], *x.shape[2:]))
    for b, base, out, channel in np.ndindex(x.shape[0], *weight.shape[:3]):
        kernel = gate[b, base] * turned(weight[base, out, channel], theta[b, base], mode)
        padded = np.pad(x[b, channel], kernel.shape[0] // 2)
        y[b, out] += correlate2d(padded, kernel, mode="valid")
    return y


def in_torch(dtype: torch.dtype, angle_dtype: torch.dtype | None = None) -> Callable[[Arrays, str], np.ndarray]:
    def run(arrays: Arrays, mode: str) -> np.ndarray:
        x, weight, theta, gate = (torch.from_numpy(array) for array in arrays)
        angles = angle_dtype or dtype
        return rotated_conv2d(x.to(dtype), weight.to(dtype), theta.to(angles), gate.to(angles), mode).numpy()

    return run


def compiled(arrays: Arrays, mode: str) -> np.ndarray:
    torch.compiler.reset()
    function = torch.compile(rotated_conv2d, backend="aot_eager", fullgraph=True)
    return function(*(torch.from_numpy(array) for array in arrays), mode).numpy()


def in_module(arrays: Arrays, mode: str) -> np.ndarray:
    x, weight, theta, gate = (torch.from_numpy(array) for array in arrays)
    bases, cout, cin, k, _ = weight.shape
    module = RotatedConv2d(cin, cout, k, bases, mode).double()
    module.load_state_dict({"taps": weight.permute(0, 3, 4, 1, 2)})
    return module(x, theta, gate).detach().numpy()


def onnx_model(arrays: Arrays, mode: str, dtype: type = np.float32, angle_dtype: type = np.float32) -> onnx.ModelProto:
    """A graph of the one node, dynamic batch, taps as initializer."""
    x, weight, theta, _ = arrays
    types = [onnx.helper.np_dtype_to_tensor_dtype(np.dtype(t)) for t in (dtype, angle_dtype)]
    info = onnx.helper.make_tensor_value_info
    angles = [info(name, types[1], ["batch", theta.shape[1]]) for name in ("theta", "gate")]
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node(
                "RotatedConv2d",
                ["x", "taps", "theta", "gate"],
                ["y"],
                domain="rsvl",
                mode=mode,
                kernel_size=weight.shape[3],
            )
        ],
        "rotated_conv",
        [info("x", types[0], ["batch", *x.shape[1:]]), *angles],
        [info("y", types[0], ["batch", weight.shape[1], *x.shape[2:]])],
        [onnx.numpy_helper.from_array(np.ascontiguousarray(weight.transpose(0, 3, 4, 1, 2)).astype(dtype), "taps")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    add_functions(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def in_onnx(dtype: type, angle_dtype: type) -> Callable[[Arrays, str], np.ndarray]:
    def run(arrays: Arrays, mode: str) -> np.ndarray:
        x, _, theta, gate = arrays
        feeds = {"x": x.astype(dtype), "theta": theta.astype(angle_dtype), "gate": gate.astype(angle_dtype)}
        return session(onnx_model(arrays, mode, dtype, angle_dtype)).run(None, feeds)[0]

    return run


def in_openvino(arrays: Arrays, mode: str) -> np.ndarray:
    names = ("x", "theta", "gate")
    feeds = {name: array.astype(np.float32) for name, array in zip(names, (arrays[0], *arrays[2:]), strict=True)}
    return only_output(onnx_model(arrays, mode), feeds)


LANGUAGES = {  # how to run it, and the error allowed relative to the largest value
    "torch float64": (in_torch(torch.float64), 1e-12),
    "torch float32": (in_torch(torch.float32), 2e-6),
    "torch float16, angles float32": (in_torch(torch.float16, torch.float32), 4e-3),
    "torch compiled": (compiled, 1e-12),
    "module": (in_module, 1e-12),
    "onnx float32": (in_onnx(np.float32, np.float32), 2e-6),
    "onnx float16, angles float32": (in_onnx(np.float16, np.float32), 4e-3),
    "onnx float16": (in_onnx(np.float16, np.float16), 1e-2),
    "onnx float32 in OpenVINO": (in_openvino, 2e-6),
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_rotated_conv_in_every_language_equals_the_definition(case: Case, language: str) -> None:
    run, tolerance = LANGUAGES[language]
    arrays = case.arrays()
    expected = reference(arrays, case.mode)
    y = run(arrays, case.mode)
    assert y.shape == expected.shape
    assert np.abs(y - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("k", [3, 5])
@pytest.mark.parametrize("degrees", [0, 17, -33, 45, 120, -200])
def test_bilinear_rotation_equals_grid_sample(k: int, degrees: float) -> None:
    theta = torch.tensor(math.radians(degrees), dtype=torch.float64)
    kernel = torch.randn(1, 4, k, k, dtype=torch.float64, generator=torch.Generator().manual_seed(k))
    zero = torch.zeros(())
    affine = torch.stack([theta.cos(), -theta.sin(), zero, theta.sin(), theta.cos(), zero]).view(1, 2, 3)
    grid = torch.nn.functional.affine_grid(affine, [1, 4, k, k], align_corners=True)
    expected = torch.nn.functional.grid_sample(kernel, grid, align_corners=True)
    torch.testing.assert_close(kernel.view(4, -1) @ rotation_matrix(theta, k).T, expected.view(4, -1))


def arc_as_published(theta: float) -> np.ndarray:
    """The 9×9 matrix of the adaptive rotated convolution, told along the ring of the eight outer taps (clockwise).

    For θ ≥ 0 a tap takes from those after it on the ring, for θ < 0 from those before it, with |sin θ| in both.
    """
    ring = [0, 1, 2, 5, 8, 7, 6, 3]
    cos, sin, step = math.cos(theta), abs(math.sin(theta)), 1 if theta >= 0 else -1
    matrix = np.zeros((9, 9))
    matrix[4, 4] = 1
    for place, tap in enumerate(ring):
        following, second = ring[(place + step) % 8], ring[(place + 2 * step) % 8]
        if place % 2 == 0:  # corner: moves along the border
            matrix[tap, [tap, following]] = cos - sin, 1 - (cos - sin)
        else:  # edge: bilinear between itself, a corner, the next edge and the centre
            matrix[tap, [tap, following, second, 4]] = (
                cos - cos * sin,
                cos * sin,
                sin - cos * sin,
                1 - (cos + sin) + cos * sin,
            )
    return matrix


@pytest.mark.parametrize("degrees", [0, 1, 20, 40, 45, -1, -20, -40, -45])
def test_arc_rotation_equals_the_published_formulas(degrees: float) -> None:
    theta = math.radians(degrees)
    matrix = rotation_matrix(torch.tensor(theta, dtype=torch.float64), 3, "arc").numpy()
    np.testing.assert_allclose(matrix, arc_as_published(theta), atol=1e-14)


@pytest.mark.parametrize("k", [3, 5, 7])
@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_positive_angle_turns_counter_clockwise_as_displayed(k: int, quarters: int) -> None:
    kernel = np.random.default_rng(k).standard_normal((k, k))
    matrix = rotation_matrix(torch.tensor(quarters * math.pi / 2, dtype=torch.float64), k).numpy()
    np.testing.assert_allclose(
        (matrix @ kernel.ravel()).reshape(k, k), np.rot90(kernel, quarters), atol=1e-13
    )  # np.rot90 turns counter-clockwise, first row on top


def test_rotation_of_half_precision_angles_is_computed_in_float32() -> None:
    theta = torch.linspace(-3, 3, 31, dtype=torch.float16)
    torch.testing.assert_close(rotation_matrix(theta, 3), rotation_matrix(theta.float(), 3), atol=0, rtol=0)


def tensors(mode: str, batch: int = 2, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    arrays = Case(batch, 2, 2, 3, 3, 4, 3, mode, 45).arrays()
    made = [torch.from_numpy(array).to(dtype) for array in arrays]
    made[2][0, 0] = 0.3  # away from the kink, where finite differences mean something
    return [tensor.requires_grad_() for tensor in made]


@pytest.mark.parametrize("mode", ["bilinear", "arc"])
@pytest.mark.parametrize("batch", [1, 2])
def test_gradients_of_first_and_second_order_equal_finite_differences(mode: str, batch: int) -> None:
    inputs = tensors(mode, batch)
    assert torch.autograd.gradcheck(lambda *args: rotated_conv2d(*args, mode), inputs)
    assert torch.autograd.gradgradcheck(lambda *args: rotated_conv2d(*args, mode), inputs)


@pytest.mark.parametrize("mode", ["bilinear", "arc"])
def test_derivative_by_angle_at_zero_is_the_mean_of_both_sides(mode: str) -> None:
    theta = torch.zeros((), dtype=torch.float64)
    derivative = torch.autograd.functional.jacobian(lambda t: rotation_matrix(t, 3, mode), theta)
    step = 1e-6
    central = (rotation_matrix(theta + step, 3, mode) - rotation_matrix(theta - step, 3, mode)) / (2 * step)
    assert derivative.abs().max() > 0.4
    torch.testing.assert_close(derivative, central, atol=1e-5, rtol=0)


def test_autocast_computes_in_bfloat16_and_keeps_gradients_of_parameters_in_float32() -> None:
    inputs = tensors("bilinear", dtype=torch.float32)
    exact = torch.autograd.grad(rotated_conv2d(*inputs).square().sum(), inputs)
    with torch.autocast("cpu", torch.bfloat16):
        y = rotated_conv2d(*inputs)
    assert y.dtype == torch.bfloat16
    for gradient, expected in zip(torch.autograd.grad(y.float().square().sum(), inputs), exact, strict=True):
        assert gradient.dtype == torch.float32
        assert (gradient - expected).abs().max() <= 0.05 * expected.abs().max()


def test_operation_passes_the_library_checks_of_schema_and_shape_inference() -> None:
    inputs = [tensor.detach() for tensor in tensors("bilinear")]
    torch.library.opcheck(
        torch.ops.rsvl.rotated_conv2d.default,
        (*inputs, "bilinear"),
        test_utils=("test_schema", "test_faketensor", "test_aot_dispatch_static"),
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": (2, 5, 4, 4)}, r"channels.*x \[2, 5, 4, 4\]"),
        ({"x": (2, 4, 4)}, r"x \[B, Cin, H, W\]"),
        ({"weight": (2, 3, 4, 3, 5)}, r"weight \[2, 3, 4, 3, 5\]"),
        ({"weight": (3, 4, 3, 3)}, r"weight \[n, Cout, Cin, k, k\]"),
        ({"weight": (2, 3, 4, 2, 2)}, "kernel size 2 is even"),
        ({"theta": (2, 3)}, r"\[B, n\] = \[2, 2\].*theta \[2, 3\]"),
        ({"gate": (1, 2)}, r"gate \[1, 2\]"),
        ({"mode": "cubic"}, "unknown mode 'cubic'"),
        ({"mode": "arc", "weight": (2, 3, 4, 5, 5)}, "3x3 kernels, not 5x5"),
        ({"dtype": torch.int64}, "torch.int64: give floating-point"),
    ],
)
def test_arguments_that_do_not_fit_raise_an_error_that_names_them(change: dict, message: str) -> None:
    call = {"x": (2, 4, 4, 4), "weight": (2, 3, 4, 3, 3), "theta": (2, 2), "gate": (2, 2), **change}
    dtype = change.get("dtype", torch.float32)
    shapes = [torch.zeros(call[name], dtype=dtype) for name in ("x", "weight", "theta", "gate")]
    with pytest.raises(UsageError, match=message) as error:
        rotated_conv2d(*shapes, call.get("mode", "bilinear"))
    assert "\n" not in str(error.value)


class Routed(torch.nn.Module):
    """A rotated convolution with a routing layer before it, as models use it."""

    def __init__(self) -> None:
        super().__init__()
        self.route = torch.nn.Linear(4, 4)
        self.conv = RotatedConv2d(4, 6, 3, bases=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        theta, gate = self.route(x.mean((2, 3))).chunk(2, 1)
        return self.conv(x, theta, gate.sigmoid())


@pytest.mark.parametrize("opset", [18, 20])
def test_export_keeps_one_node_with_dynamic_batch_and_runs_as_pytorch(opset: int) -> None:
    torch.manual_seed(0)
    net = Routed().eval()
    program = torch.onnx.export(
        net,
        (torch.randn(2, 4, 6, 5),),
        dynamo=True,
        opset_version=opset,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    add_functions(model)
    onnx.checker.check_model(model, full_check=True)
    nodes = [node for node in model.graph.node if node.domain == "rsvl"]
    assert [node.op_type for node in nodes] == ["RotatedConv2d"]
    assert nodes[0].input[1] in {tensor.name for tensor in model.graph.initializer}, (
        "taps need no transpose at run time"
    )
    run = session(model)
    for batch in (1, 3):
        x = torch.randn(batch, 4, 6, 5)
        y = run.run(None, {run.get_inputs()[0].name: x.numpy()})[0]
        np.testing.assert_allclose(y, net(x).detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("name", ["batch", "5x5 kernel", "arc"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_tensorrt_parses_the_body_with_a_dynamic_batch(name: str, dtype: type) -> None:
    tensorrt = pytest.importorskip("tensorrt_rtx")
    case = CASES[name]
    logger = tensorrt.Logger(tensorrt.Logger.ERROR)
    network = tensorrt.Builder(logger).create_network()
    parser = tensorrt.OnnxParser(network, logger)
    parsed = parser.parse(onnx_model(case.arrays(), case.mode, dtype).SerializeToString())
    assert parsed, [str(parser.get_error(i)) for i in range(parser.num_errors)]
    assert tuple(network.get_output(0).shape) == (-1, case.cout, case.height, case.width)
