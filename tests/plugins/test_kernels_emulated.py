"""The kernels compiled as C++ and run thread by thread on the host, started as on a GPU, against float64."""

from __future__ import annotations

import ctypes

import pytest
import torch

from rsvl.benchmarks.laboratory.kernel_cases import (
    CONV_CASES,
    DTYPES,
    MOE_CASES,
    PATCH_MOE_CASES,
    SCAN_CASES,
    KernelCase,
    described,
    error,
    output_shape,
)
from rsvl.plugins import driver, nvrtc
from rsvl.plugins.lora_moe import LoRAMoE
from rsvl.plugins.lora_moe import shared_bytes as moe_shared_bytes
from rsvl.plugins.operation import Operation, Tensor
from rsvl.plugins.patch_lora_moe import shared_bytes as patch_moe_shared_bytes
from rsvl.plugins.rotated_conv import RotatedConv2d
from rsvl.plugins.rotated_conv import shared_bytes as conv_shared_bytes
from rsvl.plugins.selective_scan import SelectiveScan
from rsvl.plugins.selective_scan import shared_bytes as scan_shared_bytes
from rsvl.runtime.errors import RsvlError, UsageError
from tests.support.emulated_driver import CUresult, EmulatedDriver
from tests.support.kernel_emulator import build_emulator

GUARD = 64  # elements before and after each tensor: reading them gives NaN, writing them is seen


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return build_emulator(tmp_path_factory.mktemp("emulator"))


def install(monkeypatch: pytest.MonkeyPatch, emulated: EmulatedDriver) -> EmulatedDriver:
    """Makes it the driver of this machine, for which nothing needs compiling."""
    monkeypatch.setattr(driver, "_driver", lambda: emulated)
    monkeypatch.setattr(nvrtc, "compile_source", lambda source, capability: b"")
    return emulated


def guarded(tensor: torch.Tensor) -> torch.Tensor:
    """A copy amid NaN, at an address that is a multiple of 16 bytes as on a GPU."""
    whole = torch.full((tensor.numel() + 2 * GUARD,), torch.nan, dtype=tensor.dtype)
    copy = whole[GUARD : GUARD + tensor.numel()].view(tensor.shape)
    assert copy.data_ptr() % 16 == 0
    return copy.copy_(tensor)


def start(operation: Operation, inputs: list[torch.Tensor]) -> torch.Tensor:
    """Runs the kernel as the plugin would start it."""
    tensors = [guarded(tensor) for tensor in inputs]
    y = guarded(torch.full(output_shape(operation, inputs), torch.nan, dtype=inputs[0].dtype))
    addresses = [tensor.data_ptr() for tensor in (*tensors, y)]
    driver.Kernels(type(operation), device=0).start(operation.launch(described(inputs)), addresses, stream=0)
    assert y._base is not None
    assert torch.isnan(y._base[:GUARD]).all() and torch.isnan(y._base[-GUARD:]).all(), "written outside of y"
    return y


CASES: dict[str, KernelCase] = {
    **{f"RotatedConv2d: {name}": case for name, case in CONV_CASES.items()},
    **{f"LoRAMoE: {name}": case for name, case in MOE_CASES.items()},
    **{f"PatchLoRAMoE: {name}": case for name, case in PATCH_MOE_CASES.items()},
    **{f"SelectiveScan: {name}": case for name, case in SCAN_CASES.items()},
}
#: All in the type with tensor cores; in the others, where they go another way.
RUNS = [(name, "float16") for name in CASES] + [
    (f"{operation}: odd sizes, batch", dtype)
    for operation in ("RotatedConv2d", "LoRAMoE", "PatchLoRAMoE", "SelectiveScan")
    for dtype in ("float32", "bfloat16")
]
RUNS += [(name, "float32") for name in CASES if "several" in name]


@pytest.mark.parametrize(("name", "dtype"), RUNS)
def test_emulated_kernel_equals_the_definition(
    library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch, name: str, dtype: str
) -> None:
    emulated = install(monkeypatch, EmulatedDriver(library))
    emulated.backwards = list(CASES).index(name) % 2 == 1  # both orders of the threads
    torch_dtype, tolerance = DTYPES[dtype]
    assert error(*CASES[name].run(start, torch_dtype)) <= tolerance


def test_shared_memory_is_counted_alike_in_python_and_in_the_sources(library: ctypes.CDLL) -> None:
    for element in (2, 4):
        for kernel in (1, 3, 5, 7):
            for bases in (1, 3, 8):
                expected = library.emulated_conv_shared_bytes(element, kernel, bases)
                assert conv_shared_bytes(element, kernel, bases) == expected
    assert [moe_shared_bytes(experts) for experts in (1, 8)] == [library.emulated_moe_shared_bytes(e) for e in (1, 8)]
    assert [patch_moe_shared_bytes(experts) for experts in (1, 8)] == [
        library.emulated_patch_moe_shared_bytes(experts) for experts in (1, 8)
    ]
    assert [scan_shared_bytes(states) for states in (1, 64)] == [
        library.emulated_scan_shared_bytes(states) for states in (1, 64)
    ]


def tensors(*shapes: tuple[int, ...]) -> list[Tensor]:
    return [Tensor(shape, "float16") for shape in shapes]


def test_more_than_48_kib_of_shared_memory_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    emulated = install(monkeypatch, EmulatedDriver())
    kernels = driver.Kernels(RotatedConv2d, device=0)
    for size in (3, 9):
        shapes = tensors((1, 4, 8, 8), (8, size, size, 4, 4), (1, 8), (1, 8))
        kernels.prepare(RotatedConv2d("bilinear", size).launch(shapes))
        assert emulated.allowed == ({} if size == 3 else {"rotated_conv2d_float16": emulated.shared})


def test_sizes_beyond_the_gpus_shared_memory_are_refused_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, EmulatedDriver(shared=40_000))
    launch = LoRAMoE().launch(tensors((9, 4), (5, 4), (3, 2, 4), (3, 5, 2), (9, 3)))
    with pytest.raises(UsageError, match=r"lora_moe_float16 needs \d+ bytes.*has 40000: build .* without the plugin"):
        driver.Kernels(LoRAMoE, device=0).prepare(launch)


def test_refusal_of_the_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    emulated = install(monkeypatch, EmulatedDriver())
    emulated.cuLibraryGetKernel = lambda library, name: (CUresult.CUDA_ERROR_INVALID_VALUE, None)
    launch = LoRAMoE().launch(tensors((9, 4), (5, 4), (3, 2, 4), (3, 5, 2), (9, 3)))
    with pytest.raises(RsvlError, match="CUDA_ERROR_INVALID_VALUE"):
        driver.Kernels(LoRAMoE, device=0).prepare(launch)


@pytest.mark.parametrize(
    ("operation", "shapes", "message"),
    [
        (RotatedConv2d("bilinear", 3), [(2, 4, 9), (3, 3, 3, 5, 4), (2, 3), (2, 3)], r"x \[B, Cin, H, W\]"),
        (RotatedConv2d("bilinear", 5), [(2, 4, 9, 8), (3, 3, 3, 5, 4), (2, 3), (2, 3)], r"taps \[n, 5, 5, Cout, Cin\]"),
        (RotatedConv2d("bilinear", 3), [(2, 4, 9, 8), (3, 3, 3, 5, 4), (2, 3), (1, 3)], r"gate \[B, n\]"),
        (RotatedConv2d("bilinear", 1), [(70000, 1, 1, 1), (1, 1, 1, 1, 1), (70000, 1), (70000, 1)], "split the batch"),
        (LoRAMoE(), [(9, 4), (5, 4), (3, 2, 4), (3, 5, 2), (9, 1, 3)], r"gate \[..., E\]"),
        (LoRAMoE(), [(9, 4), (5, 4), (3, 2, 4), (3, 5, 3), (9, 3)], "channels, experts or ranks differ"),
        (LoRAMoE(), [(9, 4), (5, 4), (3, 2, 4), (3, 5, 2), (3, 3)], "does not broadcast"),
        (LoRAMoE(), [(2**16, 2**15, 1), (5, 1), (1, 1, 1), (1, 5, 1), (1, 1, 1)], "split the batch"),
        (SelectiveScan(), [(2, 5), (2, 5), (5, 3), (2, 3, 4), (2, 3, 4), (5,)], r"x and dt \[B, D, L\]"),
        (SelectiveScan(), [(2, 5, 4), (2, 5, 4), (5, 3), (2, 3, 4), (2, 4, 3), (5,)], "differ between the tensors"),
        (SelectiveScan(), [(1, 1, 1), (1, 1, 1), (1, 65), (1, 65, 1), (1, 65, 1), (1,)], "at most 64 states"),
    ],
)
def test_shapes_that_do_not_fit_are_refused_before_the_kernel_starts(
    operation: Operation, shapes: list[tuple[int, ...]], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as error:
        operation.launch(tensors(*shapes))
    assert "\n" not in str(error.value)
