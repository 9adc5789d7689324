"""Test cases for the kernels with their expected outputs, for a GPU and for the emulator."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch

from rsvl.benchmarks.laboratory.lora_moe_case import LoRAMoECase
from rsvl.benchmarks.laboratory.patch_lora_moe_case import PatchLoRAMoECase
from rsvl.benchmarks.laboratory.selective_scan_case import SelectiveScanCase
from rsvl.ops import lora_moe, patch_lora_moe, rotated_conv2d, selective_scan
from rsvl.ops.patch_lora_moe import merges
from rsvl.plugins.lora_moe import LoRAMoE
from rsvl.plugins.operation import Operation, Tensor
from rsvl.plugins.patch_lora_moe import PatchLoRAMoE
from rsvl.plugins.rotated_conv import RotatedConv2d
from rsvl.plugins.selective_scan import SelectiveScan

#: Starts an operation's kernel on inputs and gives its output.
Start = Callable[[Operation, list[torch.Tensor]], torch.Tensor]

DTYPES = {  # and the error allowed relative to the largest value: the kernels' sums are float32
    "float32": (torch.float32, 2e-6),
    "float16": (torch.float16, 2e-3),
    "bfloat16": (torch.bfloat16, 1.6e-2),
}


class ConvCase(NamedTuple):
    """Sizes of one call, angles in degrees (repeated over samples and bases), dtype of the angles and gates."""

    batch: int
    bases: int
    cin: int
    cout: int
    height: int
    width: int
    k: int = 3
    degrees: tuple[float, ...] = (0, 33, -71, 180, -200)
    mode: str = "bilinear"
    wide_angles: bool = False

    def inputs(self, dtype: torch.dtype) -> list[torch.Tensor]:
        """x, taps, theta and gate, the same in every run; gates of both signs."""
        random = torch.Generator().manual_seed(self.cin * 100 + self.cout)
        x = torch.randn(self.batch, self.cin, self.height, self.width, generator=random)
        taps = torch.randn(self.bases, self.k, self.k, self.cout, self.cin, generator=random) / self.k
        angles = torch.tensor([math.radians(degree) for degree in self.degrees])
        theta = angles[torch.arange(self.batch * self.bases) % len(angles)].view(self.batch, self.bases)
        gate = torch.rand(self.batch, self.bases, generator=random) * 2 - 1
        narrow = torch.float32 if self.wide_angles else dtype
        return [x.to(dtype), taps.to(dtype), theta.to(narrow), gate.to(narrow)]

    def run(self, start: Start, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """The kernel's output, and the definition in float64, for the same inputs."""
        inputs = self.inputs(dtype)
        x, taps, theta, gate = (tensor.double() for tensor in inputs)
        expected = rotated_conv2d(x, taps.permute(0, 3, 4, 1, 2), theta, gate, self.mode)
        return start(RotatedConv2d(self.mode, self.k), inputs), expected


CONV_CASES = {
    "odd sizes, batch": ConvCase(2, 3, 5, 7, 9, 35),
    "several slices and blocks of channels": ConvCase(1, 3, 35, 70, 3, 4, wide_angles=True),
    "even channels": ConvCase(2, 2, 18, 8, 5, 6),
    "one of everything": ConvCase(1, 1, 1, 1, 1, 1, degrees=(-20,)),
    "many bases": ConvCase(1, 6, 3, 4, 4, 3),
    "arc": ConvCase(3, 2, 4, 3, 4, 5, degrees=(-45, 40, 0), mode="arc"),
    "arc, any angle": ConvCase(2, 2, 3, 3, 4, 4, degrees=(170, -120), mode="arc"),
    "1x1": ConvCase(2, 2, 6, 3, 4, 4, k=1),
    "5x5, several groups of taps": ConvCase(1, 2, 17, 3, 6, 7, k=5),
    "7x7": ConvCase(1, 2, 2, 2, 7, 8, k=7),
}


class MoeCase(NamedTuple):
    """A call, and whether the gates' dtype is float32 whatever that of the others."""

    sizes: LoRAMoECase
    wide_gate: bool = False

    def inputs(self, dtype: torch.dtype) -> list[torch.Tensor]:
        """x, weight, a, b and gate, the same in every run; whole blocks of patches leave experts out."""
        *tensors, gate = map(torch.from_numpy, self.sizes._replace(alike=70).arrays())
        return [*(tensor.to(dtype) for tensor in tensors), gate.to(torch.float32 if self.wide_gate else dtype)]

    def run(self, start: Start, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """The kernel's output, and the definition in float64, for the same inputs."""
        inputs = self.inputs(dtype)
        return start(LoRAMoE(), inputs), lora_moe(*(tensor.double() for tensor in inputs))


MOE_CASES = {
    "odd sizes, batch": MoeCase(LoRAMoECase((2, 3, 5), 7, 9, 4, 3, 2)),
    "several blocks, one of three": MoeCase(LoRAMoECase((3, 50), 72, 260, 3, 8, 1)),
    "more ranks than one tile": MoeCase(LoRAMoECase((2, 40), 9, 5, 6, 13, 6), wide_gate=True),
    "one of everything": MoeCase(LoRAMoECase((1,), 1, 1, 1, 1, 1)),
    "none chosen": MoeCase(LoRAMoECase((2, 3), 16, 8, 2, 4, 0)),
    "one gate an image": MoeCase(LoRAMoECase((3, 2, 4), 5, 6, 2, 2, 1, gate_patches=(3, 1, 1))),
    "one gate a place": MoeCase(LoRAMoECase((3, 2, 4), 5, 6, 2, 2, 1, gate_patches=(1, 2, 4))),
}


class PatchMoeCase(NamedTuple):
    """A call, and whether the gates' dtype is float32 whatever that of the others."""

    sizes: PatchLoRAMoECase
    wide_gate: bool = False

    def inputs(self, dtype: torch.dtype) -> list[torch.Tensor]:
        """x, up, down and gate, the same in every run."""
        *tensors, gate = map(torch.from_numpy, self.sizes.arrays())
        return [*(tensor.to(dtype) for tensor in tensors), gate.to(torch.float32 if self.wide_gate else dtype)]

    def run(self, start: Start, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """The kernel's output, and the definition in float64, for the same inputs."""
        inputs = self.inputs(dtype)
        operation = PatchLoRAMoE(self.sizes.experts, int(merges(self.sizes.channels, self.sizes.rank)))
        return start(operation, inputs), patch_lora_moe(*(tensor.double() for tensor in inputs))


PATCH_MOE_CASES = {
    "odd sizes, batch": PatchMoeCase(PatchLoRAMoECase(11, 7, (3, 5), 4, 3, 2)),
    "several blocks, one of three": PatchMoeCase(PatchLoRAMoECase(40, 260, (2, 2), 3, 8, 1)),
    "more ranks than one tile": PatchMoeCase(PatchLoRAMoECase(30, 10, (2, 2), 6, 13, 6), wide_gate=True),
    "a patch larger than a block": PatchMoeCase(PatchLoRAMoECase(2, 6, (9, 9), 3, 5, 1)),
    "one of everything": PatchMoeCase(PatchLoRAMoECase(1, 1, (1, 1), 1, 1, 1)),
    "none chosen": PatchMoeCase(PatchLoRAMoECase(6, 16, (2, 2), 2, 4, 0)),
    "all patches to one": PatchMoeCase(PatchLoRAMoECase(20, 32, (2, 2), 8, 16, 1, alone=True)),
}


class ScanCase(NamedTuple):
    """A call, and whether dt, A and D are float32 whatever the dtype of the others."""

    sizes: SelectiveScanCase
    wide_rates: bool = False

    def inputs(self, dtype: torch.dtype) -> list[torch.Tensor]:
        """x, dt, A, B, C and D, the same in every run."""
        narrow = torch.float32 if self.wide_rates else dtype
        dtypes = [dtype, narrow, narrow, dtype, dtype, narrow]
        return [torch.from_numpy(a).to(to) for a, to in zip(self.sizes.arrays(), dtypes, strict=True)]

    def run(self, start: Start, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """The kernel's output, and the definition in float64, for the same inputs."""
        inputs = self.inputs(dtype)
        return start(SelectiveScan(), inputs), selective_scan(*(tensor.double() for tensor in inputs))


SCAN_CASES = {
    "odd sizes, batch": ScanCase(SelectiveScanCase(2, 5, 19, 7)),
    "several blocks and tiles": ScanCase(SelectiveScanCase(2, 70, 50), wide_rates=True),
    "wide steps": ScanCase(SelectiveScanCase(1, 33, 40, steps="wide"), wide_rates=True),
    "stopped steps": ScanCase(SelectiveScanCase(1, 3, 20, steps="stopped")),
    "one of everything": ScanCase(SelectiveScanCase(1, 1, 1, 1)),
    "many states": ScanCase(SelectiveScanCase(1, 4, 18, 41)),
}


def described(tensors: list[torch.Tensor]) -> list[Tensor]:
    """The tensors' shapes and dtypes, as an operation takes them."""
    return [Tensor(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")) for tensor in tensors]


def output_shape(operation: Operation, tensors: list[torch.Tensor]) -> tuple[int, ...]:
    """The output's shape, as the plugin declares it."""
    return tuple(tensors[i].shape[dim] for i, dim in operation.output_dims([tensor.dim() for tensor in tensors]))


def error(y: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference relative to the largest value, at most 1e9; 1e9 if an element is NaN."""
    assert y.shape == expected.shape, f"{list(y.shape)} instead of {list(expected.shape)}"
    found = float((y.double() - expected).abs().max() / expected.abs().max().clamp(min=1e-30))
    return min(found, 1e9) if found == found else 1e9


KernelCase = ConvCase | MoeCase | PatchMoeCase | ScanCase

CASES: dict[str, dict[str, KernelCase]] = {
    "RotatedConv2d": {
        **CONV_CASES,
        "256 channels, 60×60": ConvCase(2, 3, 256, 256, 60, 60),
        "512 channels, 30×30": ConvCase(1, 3, 512, 512, 30, 30),
    },
    "LoRAMoE": {
        **MOE_CASES,
        "900×768, eight experts of rank 16": MoeCase(LoRAMoECase((900,), 768, 768, 8, 16, 2)),
    },
    "PatchLoRAMoE": {
        **PATCH_MOE_CASES,
        "20×20, eight experts of rank 256": PatchMoeCase(PatchLoRAMoECase(100, 256, (2, 2), 8, 256, 2)),
        "80×80, eight experts of rank 16": PatchMoeCase(PatchLoRAMoECase(400, 256, (4, 4), 8, 16, 2)),
    },
    "SelectiveScan": {
        **SCAN_CASES,
        "three orders of 784 tokens, 384 channels": ScanCase(SelectiveScanCase(3, 384, 784, steps="wide"), True),
    },
}
"""By operation: the cases above, and some in the models' sizes, several waves of blocks."""
