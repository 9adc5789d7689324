"""The part ``operations``: every form of the custom operations, beside the plain layers of cuDNN and cuBLAS."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from rsvl.benchmarks.bundle.grid_sampling import GridSampledConv2d
from rsvl.benchmarks.laboratory.gpu.device import Call, captured, first_gpu, milliseconds
from rsvl.benchmarks.laboratory.gpu.kernels import NVCC, NVRTC, Compiled, compiled_by, launch
from rsvl.benchmarks.laboratory.gpu.record import Row
from rsvl.benchmarks.laboratory.kernel_cases import error, output_shape
from rsvl.benchmarks.laboratory.operation_cases import CASES, Case
from rsvl.modules.layers.lora_moe import LoRAMoE
from rsvl.modules.layers.rotated_conv import RotatedConv2d
from rsvl.plugins.lora_moe import LoRAMoE as LoRAMoEKernel
from rsvl.plugins.operation import Operation
from rsvl.plugins.rotated_conv import RotatedConv2d as RotatedConv2dKernel
from rsvl.runtime.errors import MissingComponentError

BATCHES, DTYPES, ROUNDS = (1, 8), (torch.float32, torch.float16), 10
PLAIN = "plain layer"


def measure(scratch: Path) -> Iterator[Row]:
    """Times every case of `operation_cases` in every batch size and dtype.

    Raises:
        MissingComponentError: no GPU.
    """
    device = first_gpu()
    torch.manual_seed(0)
    compiled, why_not = _kernels(scratch)
    if compiled is None:
        yield {"not measured": f"plugin kernels: {why_not}"}
    for case in CASES:
        for dtype in DTYPES:
            for batch in BATCHES:
                yield from compare(case(), batch, dtype, device, compiled, with_compile=batch == 1)


def compare(
    case: Case,
    batch: int,
    dtype: torch.dtype,
    device: torch.device,
    compiled: Compiled | None,
    with_compile: bool,
    rounds: int = ROUNDS,
) -> Iterator[Row]:
    """Yields a row per form of an operation: the plain layer, ours, torch.compile, grid sampling, the plugin kernel.

    Args:
        case: the operation in one size.
        batch: batch size.
        dtype: of weights and inputs.
        device: where it runs.
        compiled: the plugin kernels; None if they cannot be compiled here.
        with_compile: whether to include torch.compile, which takes some seconds.
        rounds: timing rounds.
    """
    layer, plain = (module.to(device, dtype).eval() for module in (case.layer, case.plain))
    inputs = [torch.cat([tensor] * batch).to(device, dtype) for tensor in case.inputs.values()]
    reference = _reference(layer, inputs)
    forms: dict[str, Callable[[], Tensor]] = {PLAIN: partial(plain, inputs[0]), "rsvl": partial(layer, *inputs)}
    if with_compile:
        forms["rsvl, torch.compile"] = partial(torch.compile(layer, dynamic=False), *inputs)
    if isinstance(layer, RotatedConv2d):
        forms["grid sampling"] = partial(GridSampledConv2d(layer), *inputs)
    if compiled is not None and isinstance(layer, RotatedConv2d | LoRAMoE):
        forms["plugin kernel"] = _kernel(layer, inputs, compiled)
    shared = {"case": case.name, "batch": batch, "dtype": str(dtype).removeprefix("torch.")}
    with torch.no_grad():
        calls, errors = {}, {}
        for form, call in forms.items():
            try:
                found, graph = call(), captured(call, device)
            except Exception as failure:  # torch.compile raises what it likes; the other forms are still measured
                yield {**shared, "form": form, "not measured": _first_line(failure)}
                continue
            calls[form], calls[_launched(form)] = graph, call
            errors[form] = error(found.cpu(), reference.cpu()) if form != PLAIN else None
        times = milliseconds(calls, device, rounds)
    for form, wrong in errors.items():
        yield {
            **shared,
            "form": form,
            "ms, CUDA graph": float(np.median(times[form])),
            "ms, launched by Python": float(np.median(times[_launched(form)])),
            "relative to the plain layer": float(np.median(np.divide(times[form], times[PLAIN]))),
            "error": wrong,
        }


def _kernels(scratch: Path) -> tuple[Compiled | None, str]:
    """The plugin kernels by the first compiler that is here; or None and the reasons."""
    reasons = []
    for compiler in (NVRTC, NVCC):
        try:
            return compiled_by(compiler, scratch), ""
        except MissingComponentError as missing:
            reasons.append(str(missing))
    return None, "; ".join(reasons)


def _kernel(layer: nn.Module, inputs: Sequence[Tensor], compiled: Compiled) -> Call:
    """The layer by the plugin kernel, plus its bias if it has one."""
    operation, tensors, bias = _as_operation(layer, inputs)
    y = inputs[0].new_empty(output_shape(operation, tensors))

    def call() -> Tensor:
        launch(compiled(type(operation)), operation, tensors, y)
        return y if bias is None else y + bias

    return call


def _as_operation(layer: nn.Module, inputs: Sequence[Tensor]) -> tuple[Operation, list[Tensor], Tensor | None]:
    x, *others = inputs
    if isinstance(layer, RotatedConv2d):
        return RotatedConv2dKernel(layer.mode, layer.taps.shape[1]), [x, layer.taps.detach(), *others], None
    assert isinstance(layer, LoRAMoE)
    weights = [parameter.detach() for parameter in (layer.weight, layer.a, layer.b)]
    return LoRAMoEKernel(), [x, *weights, *others], layer.bias.detach()


def _reference(layer: nn.Module, inputs: Sequence[Tensor]) -> Tensor:
    """The layer in float64, with the same weights and inputs."""
    with torch.no_grad():
        return copy.deepcopy(layer).double()(*(tensor.double() for tensor in inputs))


def _launched(form: str) -> str:
    return f"{form}, launched"


def _first_line(failure: Exception) -> str:
    return (str(failure).strip().splitlines() or [type(failure).__name__])[0][:200]
