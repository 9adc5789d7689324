"""`rsvl::LoRAMoE` for TensorRT: its CUDA source and what a plugin must know of it."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from rsvl.plugins.operation import COLUMNS, DTYPES, ROWS, SLICE_BYTES, Launch, Tensor, blocks
from rsvl.runtime.errors import UsageError

# As in lora_moe.cu: slices of K that are loaded at once, and the most dimensions that patches can have.
_SLICES, _MAX_DIMS = 4, 7


class MoeSizes(ctypes.Structure):
    """The kernel's struct of the same name."""

    _fields_ = [(name, ctypes.c_int) for name in ("patches", "in_channels", "out_channels", "experts", "rank")]


class GateRows(ctypes.Structure):
    """The kernel's struct of the same name: where a patch's gates are."""

    _fields_ = [
        ("dims", ctypes.c_int),
        ("size", ctypes.c_int * _MAX_DIMS),
        ("stride", ctypes.c_int * _MAX_DIMS),
    ]


class LoRAMoE:
    """The operation; it has no attributes.

    Inputs x ``[..., Cin]``, weight ``[Cout, Cin]``, a ``[E, r, Cin]``, b ``[E, Cout, r]``, gate ``[..., E]``, whose
    dimensions before the last are x's or 1; output ``[..., Cout]``. All share a dtype; gate may be float32.
    """

    name: ClassVar[str] = "LoRAMoE"
    source: ClassVar[Path] = Path(__file__).with_name("lora_moe.cu")
    fields: ClassVar[Mapping[str, type]] = {}
    inputs: ClassVar[int] = 5

    def attributes(self) -> dict[str, Any]:
        """None."""
        return {}

    def takes(self, position: int, dtypes: Sequence[str]) -> bool:
        """Whether tensor number `position` may have its dtype."""
        mine = dtypes[position]
        if position == 0:
            return mine in DTYPES
        return mine == dtypes[0] or (position == 4 and mine == "float32")

    def output_dims(self, ranks: Sequence[int]) -> list[tuple[int, int]]:
        """``[..., Cout]``."""
        return [*((0, dim) for dim in range(ranks[0] - 1)), (1, 0)]

    def launch(self, tensors: Sequence[Tensor]) -> Launch:
        """How to start the kernel on inputs like these.

        Raises:
            UsageError: shapes that do not fit each other, or more than 2³¹ patches.
        """
        _check(*(tensor.shape for tensor in tensors))
        x, weight, a, _, gate = tensors
        patches = math.prod(x.shape[:-1])
        experts, rank, in_channels = a.shape
        out_channels = weight.shape[0]
        return Launch(
            kernel=f"lora_moe_{x.dtype}",
            grid=(blocks(patches, ROWS), blocks(out_channels, COLUMNS), 1),
            shared_bytes=shared_bytes(experts),
            values=(
                MoeSizes(patches, in_channels, out_channels, experts, rank),
                _gate_rows(x.shape[:-1], gate.shape[:-1]),
                ctypes.c_int(gate.dtype == "float32"),
            ),
        )


def shared_bytes(experts: int) -> int:
    """Shared memory of a block, as ``moe_shared_bytes`` of the source counts it."""
    return SLICE_BYTES * _SLICES * (ROWS + COLUMNS) + 8 * ROWS + 4 * (experts + 1)


def _gate_rows(patches: tuple[int, ...], gates: tuple[int, ...]) -> GateRows:
    """Rows of gates by the patches' dimensions, which they broadcast to; a step in a broadcast one moves none."""
    strides = [0 if own == 1 else math.prod(gates[dim + 1 :]) for dim, own in enumerate(gates)]
    numbers = ctypes.c_int * _MAX_DIMS
    return GateRows(len(patches), numbers(*patches), numbers(*strides))


def _check(
    x: tuple[int, ...], weight: tuple[int, ...], a: tuple[int, ...], b: tuple[int, ...], gate: tuple[int, ...]
) -> None:
    named = {"x": x, "weight": weight, "a": a, "b": b, "gate": gate}
    shapes = ", ".join(f"{name} {list(shape)}" for name, shape in named.items())
    ranks = [len(shape) for shape in named.values()]
    if not 1 <= ranks[0] <= _MAX_DIMS + 1 or ranks[1:] != [2, 3, 3, ranks[0]] or 0 in (*x, *weight, *a, *b):
        raise UsageError(
            "LoRAMoE: expected x [..., Cin], weight [Cout, Cin], a [E, r, Cin], b [E, Cout, r], gate [..., E], got "
            f"{shapes}"
        )
    experts, rank, in_channels = a
    if (x[-1], weight[1], b, gate[-1]) != (in_channels, in_channels, (experts, weight[0], rank), experts):
        raise UsageError(f"LoRAMoE: channels, experts or ranks differ between the tensors: {shapes}")
    if any(own not in (1, size) for own, size in zip(gate[:-1], x[:-1], strict=True)):
        raise UsageError(f"LoRAMoE: gate does not broadcast to the patches of x: {shapes}")
    if math.prod(x[:-1]) >= 2**31:
        raise UsageError(f"LoRAMoE: the plugin takes fewer than 2^31 patches: split the batch ({shapes})")
