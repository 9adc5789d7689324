"""The CUDA driver by ctypes, for a machine without cuda-python: as much of it as `rsvl.plugins.driver` calls.

Functions and constants are named as in `cuda.bindings.driver` and return what its functions do: a status, then the
value. The numbers are those of CUDA's header cuda.h.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from rsvl.runtime.errors import MissingComponentError


@dataclass(frozen=True)
class Status:
    """A call's CUresult; zero is success."""

    value: int
    name: str


class CtypesDriver:
    """The library behind a loaded `libcuda`."""

    CUdevice_attribute = SimpleNamespace(
        CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN=97,
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR=75,
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR=76,
    )
    CUfunction_attribute = SimpleNamespace(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES=8)

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library

    def cuDeviceGetAttribute(self, attribute: int, device: int) -> tuple[Any, ...]:  # noqa: N802
        value = ctypes.c_int()
        return self._call("cuDeviceGetAttribute", ctypes.byref(value), attribute, device), value.value

    def cuLibraryLoadData(self, code: bytes, *options: Any) -> tuple[Any, ...]:  # noqa: N802
        handle, none = ctypes.c_void_p(), ctypes.c_void_p()
        status = self._call("cuLibraryLoadData", ctypes.byref(handle), code, none, none, 0, none, none, 0)
        return status, handle

    def cuLibraryGetKernel(self, library: ctypes.c_void_p, name: bytes) -> tuple[Any, ...]:  # noqa: N802
        handle = ctypes.c_void_p()
        return self._call("cuLibraryGetKernel", ctypes.byref(handle), library, name), handle

    def cuKernelGetFunction(self, kernel: ctypes.c_void_p) -> tuple[Any, ...]:  # noqa: N802
        handle = ctypes.c_void_p()
        return self._call("cuKernelGetFunction", ctypes.byref(handle), kernel), handle

    def cuFuncSetAttribute(self, function: ctypes.c_void_p, attribute: int, value: int) -> tuple[Any, ...]:  # noqa: N802
        return (self._call("cuFuncSetAttribute", function, attribute, value),)

    def cuLaunchKernel(self, function: ctypes.c_void_p, *how: Any) -> tuple[Any, ...]:  # noqa: N802
        *grid_and_block, shared, stream, arguments, _ = how
        assert isinstance(arguments, np.ndarray)
        sizes = [ctypes.c_uint(size) for size in (*grid_and_block, shared)]
        addresses = ctypes.c_void_p(arguments.ctypes.data)
        stream_handle, none = ctypes.c_void_p(stream), ctypes.c_void_p()
        return (self._call("cuLaunchKernel", function, *sizes, stream_handle, addresses, none),)

    def _call(self, function: str, *arguments: Any) -> Status:
        value = int(getattr(self._library, function)(*arguments))
        name = ctypes.c_char_p()
        self._library.cuGetErrorName(value, ctypes.byref(name))
        return Status(value, (name.value or b"an unknown status").decode())


def open_driver() -> CtypesDriver:
    """NVIDIA's driver on this machine.

    Raises:
        MissingComponentError: it is not here, or older than CUDA 12.
    """
    try:
        library = ctypes.CDLL("libcuda.so.1")
        library.cuLibraryLoadData  # noqa: B018
    except (OSError, AttributeError) as error:
        raise MissingComponentError(f"the kernels need NVIDIA's driver for CUDA 12 or later ({error})") from error
    return CtypesDriver(library)
