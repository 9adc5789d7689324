"""What a plugin's operation is, independent of TensorRT: its inputs and output, and how its kernel is launched.

The plugin class (`rsvl.plugins.tensorrt_plugin`), the tests on a GPU and those on the host's emulator all launch
kernels from what is declared here, so there is one place to get it wrong.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

#: The types that the kernels have, and the bytes of an element.
DTYPES = {"float32": 4, "float16": 2, "bfloat16": 2}

#: Of every kernel, as in tensor_tile.cuh: threads of a block, and the rows and columns of the product that it computes.
THREADS, ROWS, COLUMNS = 256, 64, 256
SLICE_BYTES = 32


@dataclass(frozen=True)
class Tensor:
    """What a tensor is: its shape, and its dtype as a key of `DTYPES`."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Launch:
    """One start of a kernel. Its arguments: the inputs' addresses, the output's, then `values`."""

    kernel: str
    grid: tuple[int, int, int]
    shared_bytes: int
    values: tuple[ctypes.Structure | ctypes.c_int, ...]


class Operation(Protocol):
    """An operation with its attributes; made from them by keyword."""

    #: The node's type in the ONNX graph, and so the plugin's name.
    name: ClassVar[str]
    #: The CUDA source.
    source: ClassVar[Path]
    #: Attributes of the node and their types, `int` or `str`.
    fields: ClassVar[Mapping[str, type]]
    inputs: ClassVar[int]

    def attributes(self) -> dict[str, Any]:
        """The attributes' values by name, as they were given."""
        ...

    def takes(self, position: int, dtypes: Sequence[str]) -> bool:
        """Whether tensor number `position` (inputs, then the output) may have its dtype, given those before it."""
        ...

    def output_dims(self, ranks: Sequence[int]) -> list[tuple[int, int]]:
        """For each dimension of the output, the input and the dimension of it that has its size."""
        ...

    def launch(self, tensors: Sequence[Tensor]) -> Launch:
        """How to start the kernel on inputs like these.

        Raises:
            UsageError: shapes that do not fit each other, or that the kernel cannot do.
        """
        ...


def blocks(size: int, block: int) -> int:
    """How many blocks cover a size."""
    return -(-size // block)
