"""The plugins' kernels compiled as C++ for the host, behind the CUDA driver's functions."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

_SOURCE = Path(__file__).parents[1] / "plugins/emulator/libcuda.cpp"


def build_emulator(folder: Path) -> ctypes.CDLL:
    """Compiles it, in a second or two; skips the test where there is no compiler."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++ to compile the emulated kernels with")
    library = folder / "libcuda.so"
    options = ["-std=c++17", "-O1", "-shared", "-fPIC", "-Wall", "-Werror", "-Wno-unknown-pragmas"]
    subprocess.run([compiler, *options, "-o", library, _SOURCE], check=True)
    return ctypes.CDLL(str(library))
