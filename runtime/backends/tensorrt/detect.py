"""Which TensorRTs are installed, and which of them to build with."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from rsvl.runtime.backends.cuda.device import Gpu
from rsvl.runtime.backends.tensorrt.tensorrt_api import FULL, RTX, TensorRTApi
from rsvl.runtime.errors import MissingComponentError, UsageError
from rsvl.runtime.extras import remedy

BACKENDS = (FULL, RTX)
INSTALL = f"{remedy('tensorrt')} (on the GPU that runs it) or {remedy('tensorrt_rtx')} (builds without a GPU)"


@cache
def installed_tensorrts() -> tuple[TensorRTApi, ...]:
    """The TensorRTs that can be imported here, the full one first."""
    found = []
    for name in BACKENDS:
        try:
            found.append(TensorRTApi(import_module(name)))
        except (ImportError, OSError, AttributeError, RuntimeError, MissingComponentError):
            continue  # absent, or without its shared libraries: `rsvl doctor` shows what is installed
    return tuple(found)


def find_tensorrt(backend: str | None = None, gpu: Gpu | None = None) -> TensorRTApi:
    """The TensorRT to build with: the one asked for, else full TensorRT where there is a GPU, else the one for RTX.

    Raises:
        UsageError: no such backend.
        MissingComponentError: none is installed, or not that one.
    """
    if backend is not None and backend not in BACKENDS:
        raise UsageError(f"unknown backend {backend!r}: choose {' or '.join(BACKENDS)}")
    installed = [api for api in installed_tensorrts() if backend in (None, api.backend)]
    if not installed:
        raise MissingComponentError(f"{backend or 'TensorRT'} is not installed: {INSTALL}")
    usable = [api for api in installed if gpu is not None or not api.needs_gpu]
    return (usable or installed)[0]
