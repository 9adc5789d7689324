"""The kernels compiled as C++ and run thread by thread on the host (see emulator/block.hpp), against float64."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from kernel_cases import CONV_CASES, DTYPES, MOE_CASES, ConvCase, MoeCase, check, described, output_shape

from rsvl.plugins.operation import THREADS, Operation

EMULATOR = Path(__file__).with_name("emulator") / "kernels.cpp"
GUARD = 64  # elements before and after each tensor: reading them gives NaN, writing them is seen


@pytest.fixture(scope="session")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++ to compile the emulated kernels with")
    library = tmp_path_factory.mktemp("emulator") / "kernels.so"
    options = ["-std=c++17", "-O1", "-shared", "-fPIC", "-Wall", "-Werror", "-Wno-unknown-pragmas"]
    subprocess.run([compiler, *options, "-o", library, EMULATOR], check=True)
    return ctypes.CDLL(str(library))


class HowToLaunch(ctypes.Structure):
    """The emulator's struct Launch."""

    _fields_ = [
        ("grid", ctypes.c_uint * 3),
        ("threads", ctypes.c_uint),
        ("shared", ctypes.c_uint),
        ("reversed", ctypes.c_int),
    ]


def guarded(tensor: torch.Tensor) -> torch.Tensor:
    """A copy amid NaN, at an address that is a multiple of 16 bytes as on a GPU."""
    whole = torch.full((tensor.numel() + 2 * GUARD,), torch.nan, dtype=tensor.dtype)
    copy = whole[GUARD : GUARD + tensor.numel()].view(tensor.shape)
    assert copy.data_ptr() % 16 == 0
    return copy.copy_(tensor)


def start(kernels: ctypes.CDLL, operation: Operation, inputs: list[torch.Tensor], backwards: bool) -> torch.Tensor:
    """Runs the kernel as the plugin would start it."""
    launch = operation.launch(described(inputs))
    tensors = [guarded(tensor) for tensor in inputs]
    y = guarded(torch.full(output_shape(operation, inputs), torch.nan, dtype=inputs[0].dtype))
    values = [*(ctypes.c_void_p(tensor.data_ptr()) for tensor in (*tensors, y)), *launch.values]
    arguments = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
    how = HowToLaunch((ctypes.c_uint * 3)(*launch.grid), THREADS, launch.shared_bytes, backwards)
    kernels[f"emulated_{launch.kernel}"](ctypes.byref(how), arguments)
    assert torch.isnan(y._base[:GUARD]).all() and torch.isnan(y._base[-GUARD:]).all(), "written outside of y"
    return y


CASES: dict[str, ConvCase | MoeCase] = {
    **{f"RotatedConv2d: {name}": case for name, case in CONV_CASES.items()},
    **{f"LoRAMoE: {name}": case for name, case in MOE_CASES.items()},
}
#: All in the type with tensor cores; in the others, where they go another way.
RUNS = [(name, "float16") for name in CASES] + [
    (f"{operation}: odd sizes, batch", dtype)
    for operation in ("RotatedConv2d", "LoRAMoE")
    for dtype in ("float32", "bfloat16")
]
RUNS += [(name, "float32") for name in CASES if "several" in name]


@pytest.mark.parametrize(("name", "dtype"), RUNS)
def test_emulated_kernel_equals_the_definition(kernels: ctypes.CDLL, name: str, dtype: str) -> None:
    torch_dtype, tolerance = DTYPES[dtype]
    backwards = list(CASES).index(name) % 2 == 1  # both orders of the threads
    check(*CASES[name].run(lambda *call: start(kernels, *call, backwards), torch_dtype), tolerance)
