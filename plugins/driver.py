"""Loads compiled kernels and starts them, through the CUDA driver's own interface."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rsvl.plugins import nvrtc
from rsvl.plugins.bindings import checked, opened
from rsvl.plugins.operation import THREADS, Launch, Operation
from rsvl.runtime.errors import UsageError

_ALWAYS_ALLOWED = 48 * 1024  # bytes of shared memory that need no asking


class Kernels:
    """An operation's kernels on one GPU: one for each dtype, compiled once a process."""

    def __init__(
        self,
        operation: type[Operation],
        device: int,
        interface: Any = None,
        compiler: Callable[[Path, int], bytes] | None = None,
    ) -> None:
        """Compiles and loads; the device's primary context must be current, as in TensorRT's callbacks.

        Args:
            operation: whose kernels.
            device: the GPU's number.
            interface: the CUDA driver's functions, named as in `cuda.bindings.driver`, which is the default.
            compiler: from a source and a compute capability to machine code; `rsvl.plugins.nvrtc` is the default.
        """
        driver = interface or _driver()
        attribute = driver.CUdevice_attribute
        self._driver = driver
        self._largest = _device(driver, attribute.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, device)
        code = (compiler or nvrtc.compile_source)(operation.source, capability(device, driver))
        self._library = _checked(driver.cuLibraryLoadData(code, None, None, 0, None, None, 0))
        self._name = operation.name
        self._functions: dict[tuple[str, int], Any] = {}

    def prepare(self, launch: Launch) -> Any:
        """The function of a launch, allowed the shared memory that it needs.

        Raises:
            UsageError: it needs more than a block of this GPU may have.
        """
        key = (launch.kernel, launch.shared_bytes)
        if key not in self._functions:
            if launch.shared_bytes > self._largest:
                raise UsageError(
                    f"{self._name}: {launch.kernel} needs {launch.shared_bytes} bytes of shared memory for these "
                    f"sizes, this GPU has {self._largest}: build the engine without the plugin"
                )
            driver = self._driver
            kernel = _checked(driver.cuLibraryGetKernel(self._library, launch.kernel.encode()))
            function = _checked(driver.cuKernelGetFunction(kernel))
            if launch.shared_bytes > _ALWAYS_ALLOWED:
                wanted = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
                _checked(driver.cuFuncSetAttribute(function, wanted, self._largest))
            self._functions[key] = function
        return self._functions[key]

    def start(self, launch: Launch, addresses: Sequence[int], stream: int) -> None:
        """Starts a kernel and returns at once.

        Args:
            launch: what `Operation.launch` says for the tensors' shapes.
            addresses: device addresses of the inputs and of the output.
            stream: the CUDA stream's handle.

        Raises:
            RsvlError: the driver refuses.
        """
        values = [*(ctypes.c_void_p(address) for address in addresses), *launch.values]
        arguments = np.array([ctypes.addressof(value) for value in values], dtype=np.uint64)
        _checked(
            self._driver.cuLaunchKernel(
                self.prepare(launch), *launch.grid, THREADS, 1, 1, launch.shared_bytes, stream, arguments, 0
            )
        )


@functools.cache
def kernels(operation: type[Operation], device: int) -> Kernels:
    """The operation's kernels on a device, compiled and loaded the first time."""
    return Kernels(operation, device)


def require() -> None:
    """Raises a MissingComponentError where cuda-python, NVRTC or NVIDIA's driver is missing."""
    _driver()
    nvrtc.library()


def current_device() -> int:
    """The number of the device whose context is current.

    Raises:
        MissingComponentError: cuda-python or NVIDIA's driver is missing.
    """
    return int(_checked(_driver().cuCtxGetDevice()))


def capability(device: int, interface: Any = None) -> int:
    """A device's compute capability, as 87 for 8.7; `interface` as `Kernels` takes it."""
    driver = interface or _driver()
    attribute = driver.CUdevice_attribute
    return 10 * _device(driver, attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device) + _device(
        driver, attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device
    )


def _device(driver: Any, attribute: Any, device: int) -> int:
    return int(_checked(driver.cuDeviceGetAttribute(attribute, device)))


def _driver() -> Any:
    return opened("driver", "cuDriverGetVersion", "TensorRT plugins need cuda-python and NVIDIA's driver")


def _checked(result: tuple[Any, ...]) -> Any:
    return checked(result, "the CUDA driver", "see rsvl doctor for GPU and driver")
