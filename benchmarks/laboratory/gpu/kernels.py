"""The parts ``kernels-…``: the plugin kernels, started as the plugins start them, against float64."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path

import torch

from rsvl.benchmarks.laboratory.gpu.ctypes_driver import open_driver
from rsvl.benchmarks.laboratory.gpu.device import first_gpu, wait
from rsvl.benchmarks.laboratory.gpu.record import Row
from rsvl.benchmarks.laboratory.kernel_cases import CASES, DTYPES, KernelCase, Start, described, error, output_shape
from rsvl.plugins import driver
from rsvl.plugins.driver import Kernels
from rsvl.plugins.operation import Operation
from rsvl.runtime.errors import MissingComponentError, RsvlError, VerificationError

Compiled = Callable[[type[Operation]], Kernels]
"""An operation's kernels, loaded on the first GPU."""

NVRTC, NVCC = "nvrtc", "nvcc"


def check(scratch: Path, compiler: str) -> Iterator[Row]:
    """Runs every case in every dtype; yields a row per operation and dtype.

    Args:
        scratch: a folder for what nvcc writes.
        compiler: `NVRTC`, started by cuda-python as in the plugins, or `NVCC`, started by ctypes.

    Raises:
        MissingComponentError: no GPU, or the compiler or the driver's interface is missing.
        VerificationError: a case exceeds its dtype's tolerance.
        RsvlError: a kernel does not compile or start.
    """
    device = first_gpu()
    torch.zeros(1, device=device)  # makes the primary context current
    yield from compare(compiled_by(compiler, scratch), device)


def compiled_by(compiler: str, scratch: Path) -> Compiled:
    """The kernels by a compiler; see `check` for the arguments and the errors."""
    if compiler == NVRTC:
        driver.require()
        return cache(partial(Kernels, device=0))
    nvcc, interface = shutil.which("nvcc"), open_driver()
    if nvcc is None:
        raise MissingComponentError("nvcc is not installed, or not on PATH")
    return cache(partial(Kernels, device=0, interface=interface, compiler=partial(_by_nvcc, nvcc, scratch)))


def compare(
    compiled: Compiled, device: torch.device, cases: Mapping[str, Mapping[str, KernelCase]] = CASES
) -> Iterator[Row]:
    """The rows of `check`, for tensors on a device."""
    start, wrong = starter(compiled, device), 0
    for operation in cases:
        for dtype, (torch_dtype, tolerance) in DTYPES.items():
            errors = {}
            for name, case in cases[operation].items():
                print(f"{operation}, {name}, {dtype}", flush=True)
                errors[name] = error(*case.run(start, torch_dtype))
            failed = [name for name, found in errors.items() if found > tolerance]
            wrong += len(failed)
            yield {
                "operation": operation,
                "dtype": dtype,
                "cases": len(errors),
                "worst error": max(errors.values()),
                "tolerance": tolerance,
                "failed cases": "; ".join(failed),
            }
    if wrong:
        raise VerificationError(f"{wrong} cases exceed their tolerance against float64")


def starter(compiled: Compiled, device: torch.device) -> Start:
    """Starts a kernel on copies of its inputs and waits; the output was NaN before."""

    def start(operation: Operation, inputs: list[torch.Tensor]) -> torch.Tensor:
        tensors = [tensor.to(device).contiguous() for tensor in inputs]
        y = torch.full(output_shape(operation, inputs), torch.nan, dtype=inputs[0].dtype, device=device)
        launch(compiled(type(operation)), operation, tensors, y)
        wait(device)
        return y.cpu()

    return start


def launch(kernels: Kernels, operation: Operation, inputs: list[torch.Tensor], y: torch.Tensor) -> None:
    """Starts a kernel on PyTorch's current stream; inputs and y are contiguous and on one device."""
    stream = torch.cuda.current_stream().cuda_stream if y.is_cuda else 0
    addresses = [tensor.data_ptr() for tensor in (*inputs, y)]
    kernels.start(operation.launch(described(inputs)), addresses, stream)


def _by_nvcc(nvcc: str, scratch: Path, source: Path, capability: int) -> bytes:
    code = scratch / f"{source.stem}-{capability}.cubin"
    command = [nvcc, "-std=c++17", f"-arch=sm_{capability}", "-cubin", "-o", str(code), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RsvlError(f"nvcc cannot compile {source.name} for sm_{capability}: {_first_error(done.stderr)}")
    return code.read_bytes()


def _first_error(log: str) -> str:
    lines = log.strip().splitlines() or ["no output"]
    return next((line for line in lines if "error" in line or "fatal" in line), lines[-1])
