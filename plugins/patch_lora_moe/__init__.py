"""`rsvl::PatchLoRAMoE` for TensorRT: its CUDA source and what a plugin must know of it."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from rsvl.plugins.operation import COLUMNS, DTYPES, ROWS, SLICE_BYTES, Launch, Tensor, blocks
from rsvl.runtime.errors import UsageError

_SLICES = 4  # as in tensor_tile.cuh: slices of K that are loaded at once


class PatchMoeSizes(ctypes.Structure):
    """The kernel's struct of the same name."""

    _fields_ = [(name, ctypes.c_int) for name in ("patches", "channels", "cells", "experts", "rank")]


class PatchLoRAMoE:
    """The operation with its attributes, which are for its bodies: the kernel reads sizes from the shapes.

    Inputs x ``[P, C, h, w]``, up ``[E, C, r]``, down ``[E, r, C]``, gate ``[P, E]``; output as x. All share a dtype;
    gate may be float32.
    """

    name: ClassVar[str] = "PatchLoRAMoE"
    source: ClassVar[Path] = Path(__file__).with_name("patch_lora_moe.cu")
    fields: ClassVar[Mapping[str, type]] = {"experts": int, "merged": int}
    inputs: ClassVar[int] = 4

    def __init__(self, experts: int, merged: int) -> None:
        self.experts = experts
        self.merged = merged

    def attributes(self) -> dict[str, Any]:
        """The attributes' values by name."""
        return {"experts": self.experts, "merged": self.merged}

    def takes(self, position: int, dtypes: Sequence[str]) -> bool:
        """Whether tensor number `position` may have its dtype."""
        mine = dtypes[position]
        if position == 0:
            return mine in DTYPES
        return mine == dtypes[0] or (position == 3 and mine == "float32")

    def output_dims(self, ranks: Sequence[int]) -> list[tuple[int, int]]:
        """``[P, C, h, w]``."""
        return [(0, dim) for dim in range(4)]

    def launch(self, tensors: Sequence[Tensor]) -> Launch:
        """How to start the kernel on inputs like these.

        Raises:
            UsageError: shapes that do not fit each other, or 2³¹ cells or more.
        """
        _check(*(tensor.shape for tensor in tensors))
        x, up, _, gate = tensors
        (patches, channels, *sides), (experts, _, rank) = x.shape, up.shape
        cells = math.prod(sides)
        return Launch(
            kernel=f"patch_lora_moe_{x.dtype}",
            grid=(blocks(patches * cells, ROWS), blocks(channels, COLUMNS), 1),
            shared_bytes=shared_bytes(experts),
            values=(
                PatchMoeSizes(patches, channels, cells, experts, rank),
                ctypes.c_int(gate.dtype == "float32"),
            ),
        )


def shared_bytes(experts: int) -> int:
    """Shared memory of a block, as ``patch_moe_shared_bytes`` of the source counts it."""
    return SLICE_BYTES * _SLICES * (ROWS + COLUMNS) + 4 * (experts + 1)


def _check(x: tuple[int, ...], up: tuple[int, ...], down: tuple[int, ...], gate: tuple[int, ...]) -> None:
    named = {"x": x, "up": up, "down": down, "gate": gate}
    shapes = ", ".join(f"{name} {list(shape)}" for name, shape in named.items())
    if [len(shape) for shape in named.values()] != [4, 3, 3, 2] or 0 in (*x, *up):
        raise UsageError(
            f"PatchLoRAMoE: expected x [P, C, h, w], up [E, C, r], down [E, r, C] and gate [P, E], got {shapes}"
        )
    experts, channels, rank = up
    if (x[1], down, gate) != (channels, (experts, rank, channels), (x[0], experts)):
        raise UsageError(f"PatchLoRAMoE: patches, channels, experts or ranks differ between the tensors: {shapes}")
    if x[0] * x[2] * x[3] >= 2**31:
        raise UsageError(f"PatchLoRAMoE: the plugin takes fewer than 2^31 cells: split the batch ({shapes})")
