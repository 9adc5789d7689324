"""CUDA's answers as one line each; its calls exist; arrays that are no plain block are refused."""

from __future__ import annotations

import ast
import inspect
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rsvl.runtime.backends.cuda import cuda_device
from rsvl.runtime.backends.cuda.cuda_device import CudaDevice, explain, find_device
from rsvl.runtime.errors import DeviceError


class Code(IntEnum):
    cudaSuccess = 0  # noqa: N815
    cudaErrorMemoryAllocation = 2  # noqa: N815


def runtime(**functions: Any) -> Any:
    """A stand-in for `cuda.bindings.runtime` with one Orin."""
    properties = SimpleNamespace(name=b"Orin\0\0", major=8, minor=7, totalGlobalMem=8 << 30)
    answers = {
        "cudaGetDeviceCount": lambda: (Code.cudaSuccess, 1),
        "cudaGetDeviceProperties": lambda index: (Code.cudaSuccess, properties),
        "cudaDriverGetVersion": lambda: (Code.cudaSuccess, 12060),
    }
    return SimpleNamespace(cudaError_t=Code, **{**answers, **functions})


def test_gpu_says_who_it_is() -> None:
    gpu = CudaDevice(runtime()).gpu
    assert (gpu.label, gpu.driver, gpu.memory) == ("Orin (sm_87)", "12.6", 8 << 30)


def test_no_gpu_is_an_error() -> None:
    with pytest.raises(DeviceError, match="no NVIDIA GPU"):
        CudaDevice(runtime(cudaGetDeviceCount=lambda: (Code.cudaSuccess, 0)))


def test_failing_call_says_which_and_what_to_do() -> None:
    device = CudaDevice(runtime(cudaMalloc=lambda size: (Code.cudaErrorMemoryAllocation, None)))
    with pytest.raises(DeviceError, match=r"out of memory \(cudaMalloc\): use a smaller batch or --tile"):
        device.allocate(1 << 40)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        ("cudaErrorInsufficientDriver", "nvidia-smi"),
        ("cudaErrorMemoryAllocation", "smaller batch"),
        ("cudaErrorLaunchFailure", "load the bundle again"),
        ("cudaErrorInvalidValue", "--provider cpu"),
    ],
)
def test_error_has_a_remedy(error: str, says: str) -> None:
    assert says in explain(error, "cudaMemcpyAsync")


def test_capture_is_ended_when_the_work_fails() -> None:
    ended: list[int] = []
    mode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)
    device = CudaDevice(
        runtime(
            cudaStreamCaptureMode=mode,
            cudaStreamBeginCapture=lambda stream, mode: (Code.cudaSuccess,),
            cudaStreamEndCapture=lambda stream: (ended.append(stream), (Code.cudaSuccess, 1))[1],
        )
    )

    def fail() -> None:
        raise DeviceError("no")

    with pytest.raises(DeviceError):
        device.capture(fail, 7)
    assert ended == [7]


def test_pinned_memory_can_be_written_and_is_freed_by_the_address_that_cuda_gave() -> None:
    block = np.zeros(64, np.uint8)
    freed: list[int] = []
    device = CudaDevice(
        runtime(
            cudaMallocHost=lambda size: (Code.cudaSuccess, block.ctypes.data),
            cudaFreeHost=lambda address: (freed.append(address), (Code.cudaSuccess,))[1],
        )
    )
    memory = device.allocate_pinned(64)
    memory[3] = 9
    device.free_pinned(memory)
    assert block[3] == 9 and freed == [block.ctypes.data]


@pytest.mark.parametrize(
    ("shape", "strides", "expected"),
    [((2, 3), None, True), ((2, 3), (3, 1), True), ((2, 3), (1, 2), False), ((1, 3), (9, 1), True), ((), (), True)],
)
def test_contiguous_means_c_order(shape: tuple, strides: tuple | None, expected: bool) -> None:
    assert cuda_device._contiguous(shape, strides) is expected


def test_every_call_exists_in_the_bindings() -> None:
    bindings = pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings is not installed")
    constants = [n.value for n in ast.walk(ast.parse(inspect.getsource(cuda_device))) if isinstance(n, ast.Constant)]
    names = {word for word in constants if isinstance(word, str) and word.startswith("cuda") and word.isalnum()}
    places = (bindings, bindings.cudaError_t, bindings.cudaMemcpyKind)
    assert len(names) > 20
    assert [name for name in sorted(names - {"cuda"}) if not any(hasattr(place, name) for place in places)] == []
    assert bindings.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal is not None
    assert bindings.cudaStreamNonBlocking == 1


def test_looking_for_a_gpu_tells_why_there_is_none() -> None:
    device, why_not = find_device()
    assert (device is None) == bool(why_not) and "\n" not in why_not
