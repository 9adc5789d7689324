"""A CUDA driver whose GPU is the host's emulator (emulator/block.hpp): as much of it as plugins call."""

from __future__ import annotations

import ctypes
import types
from enum import IntEnum
from typing import Any

import numpy as np


class CUresult(IntEnum):
    """A call's status."""

    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_VALUE = 1


class HowToLaunch(ctypes.Structure):
    """The emulator's struct Launch."""

    _fields_ = [
        ("grid", ctypes.c_uint * 3),
        ("threads", ctypes.c_uint),
        ("shared", ctypes.c_uint),
        ("reversed", ctypes.c_int),
    ]


class EmulatedDriver:
    """One device of compute capability 8.7.

    Attributes:
        shared: the most bytes of shared memory that a block may ask for.
        allowed: what kernels were allowed beyond 48 KiB, by their name.
        backwards: the last thread of a block goes first.
    """

    CUdevice_attribute = types.SimpleNamespace(
        CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN="shared",
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR="major",
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR="minor",
    )
    CUfunction_attribute = types.SimpleNamespace(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES="shared")

    def __init__(self, library: ctypes.CDLL | None = None, shared: int = 99 * 1024) -> None:
        self._emulator = library
        self.shared = shared
        self.allowed: dict[str, int] = {}
        self.backwards = False

    def cuDeviceGetAttribute(self, attribute: str, device: int) -> tuple[Any, ...]:  # noqa: N802
        return CUresult.CUDA_SUCCESS, {"shared": self.shared, "major": 8, "minor": 7}[attribute]

    def cuLibraryLoadData(self, code: bytes, *options: Any) -> tuple[Any, ...]:  # noqa: N802
        return CUresult.CUDA_SUCCESS, code

    def cuLibraryGetKernel(self, library: bytes, name: bytes) -> tuple[Any, ...]:  # noqa: N802
        return CUresult.CUDA_SUCCESS, name.decode()

    def cuKernelGetFunction(self, kernel: str) -> tuple[Any, ...]:  # noqa: N802
        return CUresult.CUDA_SUCCESS, kernel

    def cuFuncSetAttribute(self, function: str, attribute: str, value: int) -> tuple[Any, ...]:  # noqa: N802
        self.allowed[function] = value
        return (CUresult.CUDA_SUCCESS,)

    def cuLaunchKernel(self, function: str, *how: Any) -> tuple[Any, ...]:  # noqa: N802
        *grid_and_block, shared, _stream, arguments, extra = how
        if shared > self.allowed.get(function, 48 * 1024) or grid_and_block[4:] != [1, 1]:
            return (CUresult.CUDA_ERROR_INVALID_VALUE,)
        assert extra == 0 and arguments.dtype == np.uint64
        launch = HowToLaunch((ctypes.c_uint * 3)(*grid_and_block[:3]), grid_and_block[3], shared, self.backwards)
        assert self._emulator is not None
        self._emulator[f"emulated_{function}"](ctypes.byref(launch), ctypes.c_void_p(arguments.ctypes.data))
        return (CUresult.CUDA_SUCCESS,)
