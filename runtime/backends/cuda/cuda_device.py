"""The GPU through NVIDIA's own Python packages: `cuda-bindings` for calls, `cuda-core` for other libraries' arrays."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

from rsvl.runtime.backends.cuda.device import Foreign, Gpu, Stream
from rsvl.runtime.errors import DeviceError, InputError
from rsvl.runtime.extras import remedy

_ABSENT = {"cudaErrorNoDevice", "cudaErrorInsufficientDriver"}
_OUT_OF_MEMORY = {"cudaErrorMemoryAllocation"}
_GONE = {
    "cudaErrorDevicesUnavailable",
    "cudaErrorContextIsDestroyed",
    "cudaErrorECCUncorrectable",
    "cudaErrorHardwareStackError",
    "cudaErrorIllegalAddress",
    "cudaErrorLaunchFailure",
    "cudaErrorLaunchTimeout",
    "cudaErrorSystemNotReady",
    "cudaErrorUnknown",
}
"""After these the process cannot use the GPU again."""


class CudaDevice:
    """The first GPU that CUDA shows; `CUDA_VISIBLE_DEVICES` chooses it. See `Device`."""

    def __init__(self, runtime: ModuleType) -> None:
        """Opens the GPU.

        Args:
            runtime: the module ``cuda.bindings.runtime``.

        Raises:
            DeviceError: there is none, or its driver is too old.
        """
        self._cuda = runtime
        self._pinned: dict[int, int] = {}  # address of the array's data → address to free
        if self._call("cudaGetDeviceCount") < 1:
            raise DeviceError("no NVIDIA GPU is visible: check nvidia-smi and CUDA_VISIBLE_DEVICES")
        properties = self._call("cudaGetDeviceProperties", 0)
        name = properties.name.decode() if isinstance(properties.name, bytes) else str(properties.name)
        driver = self._call("cudaDriverGetVersion")
        self.gpu = Gpu(
            name.strip("\0 "),
            (properties.major, properties.minor),
            f"{driver // 1000}.{driver % 1000 // 10}",
            properties.totalGlobalMem,
        )

    def create_stream(self) -> Stream:
        """A stream that does not wait for the default one."""
        return int(self._call("cudaStreamCreateWithFlags", self._cuda.cudaStreamNonBlocking))

    def destroy_stream(self, stream: Stream) -> None:
        """Destroys it."""
        self._call("cudaStreamDestroy", stream)

    def synchronize(self, stream: Stream) -> None:
        """Waits for the stream."""
        self._call("cudaStreamSynchronize", stream)

    def allocate(self, size: int) -> int:
        """Device memory; CUDA aligns it to 256 bytes or more."""
        return int(self._call("cudaMalloc", size))

    def free(self, address: int) -> None:
        """Frees device memory."""
        self._call("cudaFree", address)

    def allocate_pinned(self, size: int) -> np.ndarray:
        """Page-locked main memory."""
        address = int(self._call("cudaMallocHost", size))
        memory = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))
        self._pinned[memory.ctypes.data] = address
        return memory

    def free_pinned(self, memory: np.ndarray) -> None:
        """Frees it."""
        self._call("cudaFreeHost", self._pinned.pop(memory.ctypes.data))

    def upload(self, address: int, pinned: np.ndarray, stream: Stream) -> None:
        """To the device."""
        self._copy(address, pinned.ctypes.data, pinned.nbytes, "cudaMemcpyHostToDevice", stream)

    def download(self, pinned: np.ndarray, address: int, stream: Stream) -> None:
        """From the device."""
        self._copy(pinned.ctypes.data, address, pinned.nbytes, "cudaMemcpyDeviceToHost", stream)

    def copy(self, target: int, source: int, size: int, stream: Stream) -> None:
        """On the device."""
        self._copy(target, source, size, "cudaMemcpyDeviceToDevice", stream)

    def view(self, array: Any, stream: Stream) -> Foreign | None:
        """By DLPack or the CUDA array interface, whichever the array has."""
        from cuda.core.utils import StridedMemoryView

        try:
            view = StridedMemoryView.from_any_interface(array, stream_ptr=stream)
        except (BufferError, TypeError, RuntimeError) as error:
            raise InputError(
                f"{type(array).__name__}: not an array with DLPack or the CUDA array interface ({error}): give NumPy"
            ) from error
        if not view.is_device_accessible:
            return None
        if view.device_id != 0:
            raise InputError(f"an array on GPU {view.device_id}: the session runs on GPU 0, move it there")
        if view.dtype is None or not _contiguous(view.shape, view.strides):
            raise InputError("an array on the GPU that is not contiguous, or of no NumPy type: make it contiguous")
        return Foreign(view.ptr, tuple(view.shape), np.dtype(view.dtype), (view, array))

    def capture(self, work: Callable[[], None], stream: Stream) -> Any:
        """Captures the stream; the capture is ended whatever happens, or the stream would stay unusable."""
        mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", stream, mode)
        try:
            work()
        except BaseException:
            self._cuda.cudaStreamEndCapture(stream)
            raise
        recorded = self._call("cudaStreamEndCapture", stream)
        try:
            return self._call("cudaGraphInstantiate", recorded, 0)
        finally:
            self._call("cudaGraphDestroy", recorded)

    def launch(self, graph: Any, stream: Stream) -> None:
        """Launches a captured graph."""
        self._call("cudaGraphLaunch", graph, stream)

    def destroy_graph(self, graph: Any) -> None:
        """Destroys a captured graph."""
        self._call("cudaGraphExecDestroy", graph)

    def _copy(self, target: int, source: int, size: int, kind: str, stream: Stream) -> None:
        self._call("cudaMemcpyAsync", target, source, size, getattr(self._cuda.cudaMemcpyKind, kind), stream)

    def _call(self, function: str, *arguments: Any) -> Any:
        """Calls CUDA and returns its only result.

        Raises:
            DeviceError: it failed; the message says what to do.
        """
        error, *results = getattr(self._cuda, function)(*arguments)
        if error != self._cuda.cudaError_t.cudaSuccess:
            raise DeviceError(explain(error.name, function))
        return results[0] if results else None


def explain(error: str, function: str) -> str:
    """One line for a CUDA error by its name: cause and remedy."""
    if error in _ABSENT:
        return f"no NVIDIA GPU is here, or its driver is older than cuda-bindings ({error}): see nvidia-smi"
    if error in _OUT_OF_MEMORY:
        return f"the GPU is out of memory ({function}): use a smaller batch or --tile, or close what else uses it"
    if error in _GONE:
        return (
            f"the GPU stopped answering ({error} in {function}): load the bundle again in a new process; if that fails "
            "see nvidia-smi and the system's log, or use --provider cpu"
        )
    return f"CUDA failed ({error} in {function}): update the driver, or use --provider cpu"


@cache
def find_device() -> tuple[CudaDevice | None, str]:
    """The GPU, or None and why there is none, in one phrase. It is looked up once per process."""
    try:
        from cuda.bindings import runtime
    except ImportError:
        return None, f"cuda-bindings is not installed ({remedy('cuda.bindings')})"
    try:
        return CudaDevice(runtime), ""
    except DeviceError as error:
        return None, str(error)


def _contiguous(shape: tuple[int, ...], strides: tuple[int, ...] | None) -> bool:
    """Whether strides, counted in elements, are those of C order."""
    if strides is None:
        return True
    expected = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True
