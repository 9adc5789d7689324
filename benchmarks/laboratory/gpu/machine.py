"""The part ``machine``: the GPU, its driver, and what is installed."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from rsvl.benchmarks.laboratory.gpu.record import GPU, Row
from rsvl.runtime.errors import MissingComponentError

_PACKAGES = (
    *("torch", "triton", "numpy", "transformers", "tokenizers", "pillow", "onnx", "onnxscript"),
    *("onnxruntime", "onnxruntime-gpu", "tensorrt", "tensorrt-rtx-cu13", "cuda-bindings", "cuda-core", "cupy-cuda12x"),
)
_SMI_FIELDS = {"name": GPU, "driver_version": "driver", "memory.total": "memory"}


def describe(scratch: Path) -> Iterator[Row]:
    """Rows of a name and a value.

    Raises:
        MissingComponentError: there is no NVIDIA GPU.
    """
    found = {
        "system": platform.platform(),
        "Python": platform.python_version(),
        "cores": str(os.cpu_count()),
        "nvcc": next((line for line in _output("nvcc", "--version") if "release" in line), ""),
        **{name: _version(name) for name in _PACKAGES},
    }
    for what, value in {**_gpu(), **found}.items():
        yield {"what": what, "value": value or "absent"}
    if not _gpu():
        raise MissingComponentError("nvidia-smi finds no NVIDIA GPU")


def _gpu() -> dict[str, str]:
    """The first GPU that is visible to CUDA."""
    shown = os.environ.get("CUDA_VISIBLE_DEVICES", "").partition(",")[0]
    gpus = _output("nvidia-smi", f"--query-gpu={','.join(_SMI_FIELDS)}", "--format=csv,noheader")
    number = int(shown) if shown.isdigit() and int(shown) < len(gpus) else 0
    return dict(zip(_SMI_FIELDS.values(), gpus[number].split(", "), strict=True)) if gpus else {}


def _output(program: str, *arguments: str) -> list[str]:
    """The lines that a program prints; none if it is absent or fails."""
    if shutil.which(program) is None:
        return []
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=20)
    return done.stdout.splitlines() if done.returncode == 0 else []


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""
