"""Memory of a session on a GPU: a caching allocator, and the tensors in its blocks.

Because equal runs get the same blocks, a captured CUDA graph, which holds addresses, serves the next run too.
"""

from __future__ import annotations

import threading
import weakref
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from math import prod
from typing import Any, Generic, TypeVar

import numpy as np

from rsvl.runtime.backends.cuda.device import Device, Stream
from rsvl.runtime.errors import DeviceError, InputError

ALIGNMENT = 256
"""Alignment of every tensor that TensorRT reads or writes, in bytes."""

Memory = TypeVar("Memory")


class Pool(Generic[Memory]):
    """A caching allocator: a block that is given back stays until another of its size is needed."""

    def __init__(
        self, allocate: Callable[[int], Memory], free: Callable[[Memory], None], order: Callable[[Memory], int]
    ) -> None:
        """Makes an empty pool.

        Args:
            allocate: allocates that many bytes.
            free: frees them.
            order: sort key of idle blocks; the first is taken, so that equal runs get the same blocks.
        """
        self._allocate, self._free, self._order = allocate, free, order
        self._idle: dict[int, list[Memory]] = defaultdict(list)
        self._closed = False
        self._lock = threading.RLock()  # a tensor may be collected, and give its block back, at any moment

    def take(self, size: int) -> Memory:
        """A block of at least this many bytes.

        Raises:
            DeviceError: no memory is left, even after all idle blocks were freed.
        """
        rounded = _rounded(size)
        with self._lock:
            idle = self._idle[rounded]
            if idle:
                first = min(range(len(idle)), key=lambda i: self._order(idle[i]))
                return idle.pop(first)
        try:
            return self._allocate(rounded)
        except DeviceError:
            self.release()
            return self._allocate(rounded)

    def give_back(self, size: int, block: Memory) -> None:
        """Returns a block that was taken for that many bytes."""
        with self._lock:
            if not self._closed:
                self._idle[_rounded(size)].append(block)
                return
        self._free(block)

    def release(self) -> None:
        """Frees all idle blocks."""
        with self._lock:
            blocks = [block for idle in self._idle.values() for block in idle]
            self._idle.clear()
        for block in blocks:
            self._free(block)

    def close(self) -> None:
        """Frees idle blocks, and from now on each block when it is given back."""
        self._closed = True
        self.release()


class Workspace:
    """A device, one stream on it, and the pools of its memory. Threads take turns by `lock`."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.lock = threading.RLock()
        self.stream: Stream = device.create_stream()
        self.blocks: Pool[int] = Pool(device.allocate, device.free, order=int)
        self.pinned: Pool[np.ndarray] = Pool(device.allocate_pinned, device.free_pinned, order=_address)
        self._uploading: list[tuple[int, np.ndarray]] = []

    def upload(self, array: np.ndarray, address: int) -> None:
        """Copies an array to the device through pinned memory, which stays in use until `synchronize`."""
        with self.lock:
            pinned = self.pinned.take(array.nbytes)
            self._uploading.append((array.nbytes, pinned))
            part = pinned[: array.nbytes]
            part.view(array.dtype).reshape(array.shape)[...] = array
            self.device.upload(address, part, self.stream)

    def download(self, address: int, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """A copy of device memory, through pinned memory."""
        size = prod(shape) * dtype.itemsize
        with self.lock:
            pinned = self.pinned.take(size)
            part = pinned[:size]
            self.device.download(part, address, self.stream)
            self.synchronize()
            array = part.view(dtype).reshape(shape).copy()
            self.pinned.give_back(size, pinned)
        return array

    def synchronize(self) -> None:
        """Waits for the stream; a failure of what was enqueued on it is raised here."""
        with self.lock:
            self.device.synchronize(self.stream)
            while self._uploading:
                self.pinned.give_back(*self._uploading.pop())

    def close(self) -> None:
        """Frees everything. A GPU that has gone has nothing to free."""
        with suppress(DeviceError):
            self.blocks.close()
            self.pinned.close()
            self.device.destroy_stream(self.stream)


class DeviceTensor:
    """A tensor on the GPU; its memory returns to the pool with the last reference to it.

    It has the CUDA array interface: CuPy, PyTorch (``torch.as_tensor``), Numba and others take it without a copy.

    Attributes:
        shape: its sizes.
        dtype: its NumPy type.
        address: of its first element.
    """

    def __init__(self, workspace: Workspace, shape: tuple[int, ...], dtype: np.dtype) -> None:
        """Allocates a tensor, uninitialized."""
        self.shape, self.dtype = shape, dtype
        self._workspace, self._owner = workspace, None
        self.address = workspace.blocks.take(self.nbytes)
        weakref.finalize(self, _give_back, workspace.blocks, self.nbytes, self.address).atexit = False

    @classmethod
    def uploaded(cls, workspace: Workspace, array: np.ndarray) -> DeviceTensor:
        """An array's copy on the GPU, through pinned memory, complete in stream order."""
        tensor = cls(workspace, array.shape, array.dtype)
        workspace.upload(array, tensor.address)
        return tensor

    @classmethod
    def adopted(cls, workspace: Workspace, array: Any) -> DeviceTensor | None:
        """Another library's array on the same GPU, without a copy; None where it is in main memory.

        Raises:
            InputError: it is on another GPU, or not contiguous.
        """
        foreign = workspace.device.view(array, workspace.stream)
        if foreign is None:
            return None
        tensor = cls.__new__(cls)
        tensor.shape, tensor.dtype, tensor.address = foreign.shape, foreign.dtype, foreign.address
        tensor._workspace, tensor._owner = workspace, foreign.owner
        if tensor.address % ALIGNMENT == 0:
            return tensor
        aligned = cls(workspace, tensor.shape, tensor.dtype)  # TensorRT takes no other
        workspace.device.copy(aligned.address, tensor.address, tensor.nbytes, workspace.stream)
        workspace.synchronize()  # before the other library's array may end
        return aligned

    @property
    def nbytes(self) -> int:
        """Its bytes."""
        return prod(self.shape) * self.dtype.itemsize

    @property
    def ndim(self) -> int:
        """How many dimensions it has."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def rows(self, first: int, last: int) -> DeviceTensor:
        """A copy of these rows."""
        part = DeviceTensor(self._workspace, (last - first, *self.shape[1:]), self.dtype)
        start = self.address + first * prod(self.shape[1:]) * self.dtype.itemsize
        self._workspace.device.copy(part.address, start, part.nbytes, self._workspace.stream)
        return part

    def fill_rows(self, first: int, part: DeviceTensor) -> None:
        """Copies `part` over the rows from `first` on."""
        start = self.address + first * prod(self.shape[1:]) * self.dtype.itemsize
        self._workspace.device.copy(start, part.address, part.nbytes, self._workspace.stream)

    def numpy(self) -> np.ndarray:
        """A copy in main memory."""
        return self._workspace.download(self.address, self.shape, self.dtype)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """The data is ready: a session waits for its stream before it returns tensors."""
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.address, False),
            "version": 3,
            "strides": None,
            "stream": None,
        }


def on_device(workspace: Workspace, tensor: Any) -> DeviceTensor:
    """A session's input on the GPU: an array of this session as it is, another library's without a copy, else a copy.

    Raises:
        InputError: no array, or one on another GPU.
    """
    if isinstance(tensor, DeviceTensor):
        return tensor
    if not isinstance(tensor, np.ndarray):
        if not is_device_array(tensor):
            raise InputError(f"{type(tensor).__name__} is no array: give NumPy, or one with DLPack")
        adopted = DeviceTensor.adopted(workspace, tensor)
        if adopted is not None:
            return adopted
        tensor = np.from_dlpack(tensor)
    return DeviceTensor.uploaded(workspace, tensor)


def is_device_array(tensor: Any) -> bool:
    """Whether it can be taken over by DLPack or the CUDA array interface."""
    return hasattr(tensor, "__cuda_array_interface__") or hasattr(tensor, "__dlpack__")


def _give_back(pool: Pool[int], size: int, address: int) -> None:
    with suppress(DeviceError):  # when the GPU has gone, its memory has gone with it
        pool.give_back(size, address)


def _address(memory: np.ndarray) -> int:
    return memory.ctypes.data


def _rounded(size: int) -> int:
    return max(ALIGNMENT, -(-size // ALIGNMENT) * ALIGNMENT)
