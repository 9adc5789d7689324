"""Compiles a CUDA source when it is needed, for the GPU at hand, by NVRTC: no toolkit and no headers are needed."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from rsvl.plugins.bindings import checked, opened
from rsvl.runtime.errors import MissingComponentError, RsvlError

#: What every source includes, and the name by which it does.
HEADER = Path(__file__).with_name("tensor_tile.cuh")
_INCLUDED_AS = f"../{HEADER.name}"


@functools.cache
def compile_source(source: Path, capability: int) -> bytes:
    """Compiles a source once a process and GPU.

    Args:
        source: a CUDA file of this package.
        capability: the GPU's compute capability, as 87 for 8.7; 75 at least.

    Returns:
        Machine code for it (a cubin); for a GPU newer than this NVRTC, PTX that the driver finishes.

    Raises:
        MissingComponentError: cuda-python or NVRTC is missing, or it is too old for every GPU of this kind.
        RsvlError: the source does not compile; the first error of the compiler's log is named.
    """
    nvrtc = library()
    known = [version for version in _checked(nvrtc.nvrtcGetSupportedArchs()) if version <= capability]
    if not known or capability < 75:
        raise MissingComponentError(
            f"NVRTC cannot compile for compute capability {capability / 10:.1f}: the plugins need 7.5 or later; "
            "leave them off, the standard operators do the same"
        )
    exact = capability in known
    program = _checked(
        nvrtc.nvrtcCreateProgram(
            source.read_bytes(), source.name.encode(), 1, [HEADER.read_bytes()], [_INCLUDED_AS.encode()]
        )
    )
    try:
        architecture = f"sm_{capability}" if exact else f"compute_{max(known)}"
        options = [f"--gpu-architecture={architecture}".encode(), b"--std=c++17"]
        (status,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
        if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            raise RsvlError(f"{source.name} does not compile for {architecture}: {_first_error(nvrtc, program)}")
        size, fetch = (
            (nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN) if exact else (nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX)
        )
        code = b" " * _checked(size(program))
        fetch(program, code)
        return code
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def library() -> Any:
    """The bindings' module for NVRTC, checked to open it.

    Raises:
        MissingComponentError: cuda-python or NVRTC is missing.
    """
    return opened("nvrtc", "nvrtcVersion", "TensorRT plugins in Python need cuda-python and NVRTC")


def _checked(result: tuple[Any, ...]) -> Any:
    return checked(result, "NVRTC", "reinstall cuda-python and NVRTC of one CUDA version")


def _first_error(nvrtc: Any, program: Any) -> str:
    log = b" " * _checked(nvrtc.nvrtcGetProgramLogSize(program))
    nvrtc.nvrtcGetProgramLog(program, log)
    lines = log.decode(errors="replace").rstrip("\0").splitlines()
    return next((line for line in lines if "error" in line), "no error in the compiler's log")
