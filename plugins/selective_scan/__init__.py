"""`rsvl::SelectiveScan` for TensorRT: its CUDA source and what a plugin must know of it."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from rsvl.plugins.operation import DTYPES, Launch, Tensor, blocks
from rsvl.runtime.errors import UsageError

# As in selective_scan.cu: a block's channels, the threads that share one, the tokens of a tile, the most states.
_CHANNELS, _PARTS, _TOKENS, _MAX_STATES = 32, 8, 16, 64
_GRID_LIMIT = 65535  # of a grid's second dimension


class ScanSizes(ctypes.Structure):
    """The kernel's struct of the same name."""

    _fields_ = [(name, ctypes.c_int) for name in ("channels", "length", "states")]


class SelectiveScan:
    """The operation; it has no attributes.

    Inputs x and dt ``[B, D, L]``, A ``[D, N]``, B and C ``[B, N, L]``, D ``[D]``; output ``[B, D, L]``. x, B, C and y
    share a dtype; dt, A and D have it too or are float32.
    """

    name: ClassVar[str] = "SelectiveScan"
    source: ClassVar[Path] = Path(__file__).with_name("selective_scan.cu")
    fields: ClassVar[Mapping[str, type]] = {}
    inputs: ClassVar[int] = 6

    def attributes(self) -> dict[str, Any]:
        """None."""
        return {}

    def takes(self, position: int, dtypes: Sequence[str]) -> bool:
        """Whether tensor number `position` may have its dtype."""
        mine = dtypes[position]
        if position == 0:
            return mine in DTYPES
        return mine == dtypes[0] or (position in (1, 2, 5) and mine == "float32")

    def output_dims(self, ranks: Sequence[int]) -> list[tuple[int, int]]:
        """``[B, D, L]``."""
        return [(0, 0), (0, 1), (0, 2)]

    def launch(self, tensors: Sequence[Tensor]) -> Launch:
        """How to start the kernel on inputs like these.

        Raises:
            UsageError: shapes that do not fit each other, more than 64 states, or more than 65535 samples.
        """
        _check(*(tensor.shape for tensor in tensors))
        x, dt, a, _, _, d = tensors
        batch, channels, length = x.shape
        states = a.shape[1]
        return Launch(
            kernel=f"selective_scan_{x.dtype}",
            grid=(blocks(channels, _CHANNELS), batch, 1),
            shared_bytes=shared_bytes(states),
            values=(
                ScanSizes(channels, length, states),
                *(ctypes.c_int(tensor.dtype == "float32") for tensor in (dt, a, d)),
            ),
        )


def shared_bytes(states: int) -> int:
    """Shared memory of a block, as ``scan_shared_bytes`` of the source counts it."""
    return 4 * (_TOKENS + 1) * (2 * _CHANNELS + 2 * states + _PARTS * _CHANNELS)


def _check(
    x: tuple[int, ...],
    dt: tuple[int, ...],
    a: tuple[int, ...],
    b: tuple[int, ...],
    c: tuple[int, ...],
    d: tuple[int, ...],
) -> None:
    named = {"x": x, "dt": dt, "A": a, "B": b, "C": c, "D": d}
    shapes = ", ".join(f"{name} {list(shape)}" for name, shape in named.items())
    if len(x) != 3 or len(a) != 2 or 0 in (*x, *a):
        raise UsageError(
            f"SelectiveScan: expected x and dt [B, D, L], A [D, N], B and C [B, N, L], D [D], got {shapes}"
        )
    reads = (x[0], a[1], x[2])
    if (dt, a[0], b, c, d) != (x, x[1], reads, reads, (x[1],)):
        raise UsageError(f"SelectiveScan: samples, channels, states or tokens differ between the tensors: {shapes}")
    if a[1] > _MAX_STATES:
        raise UsageError(
            f"SelectiveScan: the plugin takes at most {_MAX_STATES} states: build the engine without it ({shapes})"
        )
    if x[0] > _GRID_LIMIT:
        raise UsageError(f"SelectiveScan: the plugin takes at most {_GRID_LIMIT} samples: split the batch ({shapes})")
