"""What the runtime needs of a GPU. `CudaDevice` is the real one; the tests bring one of main memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

Stream = int
"""A CUDA stream's handle."""


@dataclass(frozen=True)
class Gpu:
    """Which GPU this is.

    Attributes:
        name: as the driver reports it.
        capability: compute capability, such as (9, 0).
        driver: the newest CUDA version that the driver supports, such as ``13.0``.
        memory: total bytes.
    """

    name: str
    capability: tuple[int, int]
    driver: str
    memory: int

    @property
    def sm(self) -> str:
        """The compute capability as compilers write it, such as ``sm_90``."""
        major, minor = self.capability
        return f"sm_{major}{minor}"

    @property
    def label(self) -> str:
        """Name and compute capability."""
        return f"{self.name} ({self.sm})"


@dataclass(frozen=True)
class Foreign:
    """Memory of another library's array: its address, [shape] and dtype, and the object that keeps it alive."""

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype
    owner: Any


class Device(Protocol):
    """A GPU. Sizes are bytes; addresses are on the device, 256-byte aligned; copies and work run in stream order.

    Every method raises `DeviceError` when the GPU fails: out of memory, gone, reset.
    """

    gpu: Gpu

    def create_stream(self) -> Stream:
        """A new stream."""
        ...

    def destroy_stream(self, stream: Stream) -> None:
        """Destroys it."""
        ...

    def synchronize(self, stream: Stream) -> None:
        """Waits until everything enqueued on the stream is done. Failures of earlier work are raised here."""
        ...

    def allocate(self, size: int) -> int:
        """Allocates device memory and returns its address."""
        ...

    def free(self, address: int) -> None:
        """Frees device memory."""
        ...

    def allocate_pinned(self, size: int) -> np.ndarray:
        """Page-locked main memory, which the GPU reads and writes itself, uint8 [size]."""
        ...

    def free_pinned(self, memory: np.ndarray) -> None:
        """Frees it."""
        ...

    def upload(self, address: int, pinned: np.ndarray, stream: Stream) -> None:
        """Copies pinned memory to the device."""
        ...

    def download(self, pinned: np.ndarray, address: int, stream: Stream) -> None:
        """Copies device memory to pinned memory."""
        ...

    def copy(self, target: int, source: int, size: int, stream: Stream) -> None:
        """Copies from device memory to device memory."""
        ...

    def view(self, array: Any, stream: Stream) -> Foreign | None:
        """Another library's array on this GPU, ready in stream order; None where it is in main memory.

        Raises:
            InputError: it is on another GPU, or not contiguous.
        """
        ...

    def capture(self, work: Callable[[], None], stream: Stream) -> Any:
        """Captures what `work` enqueues on the stream as a CUDA graph, without running it."""
        ...

    def launch(self, graph: Any, stream: Stream) -> None:
        """Launches a captured graph."""
        ...

    def destroy_graph(self, graph: Any) -> None:
        """Destroys a captured graph."""
        ...
