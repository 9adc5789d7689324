"""The CUDA sources compile: by nvcc or NVRTC, whichever is here; nothing runs.

For one architecture by default; `make kernels` sets RSVL_ALL_ARCHITECTURES and compiles for all, by both.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from rsvl.plugins import OPERATIONS, nvrtc
from rsvl.runtime.errors import MissingComponentError, RsvlError

ALL = [75, 80, 86, 87, 89, 90, 100, 120]
EVERYTHING = bool(os.environ.get("RSVL_ALL_ARCHITECTURES"))


def by_nvcc(source: Path, architecture: int, folder: Path) -> bytes:
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("no nvcc here")
    code = folder / "code.cubin"
    command = [nvcc, "-std=c++17", f"-arch=sm_{architecture}", "-cubin", "-Werror", "all-warnings", "-o", code, source]
    subprocess.run(command, check=True)
    return code.read_bytes()


def by_nvrtc(source: Path, architecture: int, folder: Path) -> bytes:
    try:
        nvrtc.library()
    except MissingComponentError as error:
        pytest.skip(str(error))
    return nvrtc.compile_source(source, architecture)


def by_either(source: Path, architecture: int, folder: Path) -> bytes:
    return (by_nvcc if shutil.which("nvcc") else by_nvrtc)(source, architecture, folder)


@pytest.mark.parametrize("compiler", [by_nvcc, by_nvrtc] if EVERYTHING else [by_either])
@pytest.mark.parametrize("architecture", ALL if EVERYTHING else [87])
@pytest.mark.parametrize("name", OPERATIONS)
def test_source_compiles_to_a_kernel_of_each_type(
    name: str, architecture: int, compiler: Callable[[Path, int, Path], bytes], tmp_path: Path
) -> None:
    code = compiler(OPERATIONS[name].source, architecture, tmp_path)
    kernel = OPERATIONS[name].source.stem.replace("rotated_conv", "rotated_conv2d")
    for dtype in ("float32", "float16", "bfloat16"):
        assert f"{kernel}_{dtype}\0".encode() in code


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    source = tmp_path / "tiny.cu"
    source.write_text('#include "../tensor_tile.cuh"\nextern "C" __global__ void tiny(float* y) { *y = 1; }')
    return source


def test_source_that_does_not_compile_is_reported_in_one_line(tmp_path: Path) -> None:
    source = tmp_path / "broken.cu"
    source.write_text('extern "C" __global__ void broken() { unknown = 1; }')
    with pytest.raises(RsvlError, match=r'broken.cu does not compile for sm_87: .*"unknown" is undefined') as error:
        by_nvrtc(source, 87, tmp_path)
    assert "\n" not in str(error.value)


def test_gpu_newer_than_the_compiler_gets_code_for_the_driver_to_finish(tiny: Path) -> None:
    assert b".visible .entry tiny" in by_nvrtc(tiny, 999, tiny.parent)


def test_gpu_without_tensor_cores_is_refused(tiny: Path) -> None:
    with pytest.raises(MissingComponentError, match=r"compute capability 7\.0: the plugins need 7\.5"):
        by_nvrtc(tiny, 70, tiny.parent)
