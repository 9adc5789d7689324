"""`rsvl::RotatedConv2d` for TensorRT: its CUDA source and what a plugin must know of it."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from rsvl.plugins.operation import DTYPES, ROWS, SLICE_BYTES, Launch, Tensor, blocks
from rsvl.runtime.errors import UsageError

MODES = ("bilinear", "arc")  # their numbers in the kernel

# As in rotated_conv.cu: a block's pixels, the taps that it mixes at a time, the rows of the mixing matrix.
_PIXEL_ROWS, _PIXEL_COLUMNS = 8, 32
_TAPS, _MIXING_ROWS = 9, 16
_GRID_LIMIT = 65535  # of a grid's second and third dimension


class ConvSizes(ctypes.Structure):
    """The kernel's struct of the same name."""

    _fields_ = [
        (name, ctypes.c_int) for name in ("bases", "in_channels", "out_channels", "height", "width", "kernel", "mode")
    ]


class RotatedConv2d:
    """The operation with its attributes.

    Inputs x ``[B, Cin, H, W]``, taps ``[n, k, k, Cout, Cin]``, theta and gate ``[B, n]``; output ``[B, Cout, H, W]``.
    x, taps and y share a dtype; theta and gate have it too or are float32.

    Raises:
        UsageError: an unknown mode, an even kernel size, or ``arc`` with a size other than 3.
    """

    name: ClassVar[str] = "RotatedConv2d"
    source: ClassVar[Path] = Path(__file__).with_name("rotated_conv.cu")
    fields: ClassVar[Mapping[str, type]] = {"mode": str, "kernel_size": int}
    inputs: ClassVar[int] = 4

    def __init__(self, mode: str, kernel_size: int) -> None:
        if mode not in MODES:
            raise UsageError(f"RotatedConv2d: unknown mode {mode!r}: use one of {', '.join(MODES)}")
        if kernel_size < 1 or kernel_size % 2 == 0 or (mode == "arc" and kernel_size != 3):
            raise UsageError(f"RotatedConv2d: kernel size {kernel_size} with mode {mode}: use an odd size, 3 for arc")
        self.mode = mode
        self.kernel_size = kernel_size

    def attributes(self) -> dict[str, Any]:
        """The attributes' values by name."""
        return {"mode": self.mode, "kernel_size": self.kernel_size}

    def takes(self, position: int, dtypes: Sequence[str]) -> bool:
        """Whether tensor number `position` may have its dtype."""
        mine = dtypes[position]
        if position == 0:
            return mine in DTYPES
        return mine == dtypes[0] or (position in (2, 3) and mine == "float32")

    def output_dims(self, ranks: Sequence[int]) -> list[tuple[int, int]]:
        """``[B, Cout, H, W]``."""
        return [(0, 0), (1, 3), (0, 2), (0, 3)]

    def launch(self, tensors: Sequence[Tensor]) -> Launch:
        """How to start the kernel on inputs like these.

        Raises:
            UsageError: shapes that do not fit each other or the attributes, or more than 65535 samples.
        """
        x, taps, theta, gate = tensors
        self._check(x.shape, taps.shape, theta.shape, gate.shape)
        batch, in_channels, height, width = x.shape
        bases, k, _, out_channels, _ = taps.shape
        sizes = ConvSizes(bases, in_channels, out_channels, height, width, k, MODES.index(self.mode))
        return Launch(
            kernel=f"rotated_conv2d_{x.dtype}",
            grid=(blocks(height, _PIXEL_ROWS) * blocks(width, _PIXEL_COLUMNS), blocks(out_channels, ROWS), batch),
            shared_bytes=shared_bytes(DTYPES[x.dtype], k, bases),
            values=(sizes, *(ctypes.c_int(angle.dtype == "float32") for angle in (theta, gate))),
        )

    def _check(self, x: tuple[int, ...], taps: tuple[int, ...], *angles: tuple[int, ...]) -> None:
        shapes = f"x {list(x)}, taps {list(taps)}, theta {list(angles[0])}, gate {list(angles[1])}"
        k = self.kernel_size
        if len(x) != 4 or len(taps) != 5 or taps[1:3] != (k, k) or taps[4] != x[1] or 0 in (*x, *taps):
            raise UsageError(
                f"RotatedConv2d: expected x [B, Cin, H, W] and taps [n, {k}, {k}, Cout, Cin], got {shapes}"
            )
        if any(angle != (x[0], taps[0]) for angle in angles):
            raise UsageError(f"RotatedConv2d: expected theta and gate [B, n], got {shapes}")
        if x[0] > _GRID_LIMIT or blocks(taps[3], ROWS) > _GRID_LIMIT:
            raise UsageError(
                f"RotatedConv2d: the plugin takes at most {_GRID_LIMIT} samples: split the batch ({shapes})"
            )


def shared_bytes(element: int, kernel: int, bases: int) -> int:
    """Shared memory of a block, as ``conv_shared_bytes`` of the source counts it; `element` is an element's bytes."""
    patch = (_PIXEL_ROWS + kernel - 1) * (_PIXEL_COLUMNS + kernel - 1)
    mixing_columns = blocks(bases * kernel * kernel, 16) * 16
    return SLICE_BYTES * (_TAPS * ROWS + patch) + _MIXING_ROWS * mixing_columns * element + 12 * bases
