"""What TensorRT logs when it fails, as one line that names cause and remedy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from types import ModuleType
from typing import Any

from rsvl.runtime.errors import DeviceError, EngineError

_OUT_OF_MEMORY = re.compile(r"out ?of ?memory|insufficient.{0,20}memory|memory allocation|NvMapMemAlloc", re.IGNORECASE)
_OTHER_GPU = re.compile("no kernel image|NoKernelImage|NoBinaryForGpu", re.IGNORECASE)
_OF_ANOTHER_GPU = (
    "TensorRT or CUDA here has no code for this GPU: on a Jetson use JetPack's own TensorRT, not one from pip"
)


def build_failure(name: str, errors: Sequence[str]) -> EngineError:
    """The error for a graph, by its file's name, from what was logged while it was built."""
    reason = one_line(errors)
    if _OUT_OF_MEMORY.search(reason):
        return EngineError(
            f"{name}: memory ran out while building: choose a smaller --max-batch or --workspace, close other "
            f"programs, or restart a Jetson, whose memory may be in pieces ({reason})"
        )
    if _OTHER_GPU.search(reason):
        return EngineError(f"{name}: {_OF_ANOTHER_GPU} ({reason})")
    return EngineError(f"{name}: the builder produced no engine ({reason or 'no reason given'}): use --provider cuda")


def load_failure(tensorrt: str, errors: Sequence[str]) -> DeviceError | EngineError:
    """The error for an engine, from what TensorRT, by its name and version, logged while it loaded it."""
    reason = one_line(errors) or "no reason given"
    if _OUT_OF_MEMORY.search(reason):
        return DeviceError(
            "the GPU has no memory left for the engine: close what else uses it, or build it with a smaller --max-batch"
        )
    return EngineError(f"{tensorrt} refuses the engine ({reason})")


def run_failure(errors: Sequence[str]) -> DeviceError | EngineError:
    """The error for a run, from what was logged when it was enqueued."""
    reason = one_line(errors) or "no reason given"
    if _OUT_OF_MEMORY.search(reason):
        return DeviceError(f"the GPU is out of memory ({reason}): use a smaller batch or --tile")
    if _OTHER_GPU.search(reason):
        return DeviceError(f"{_OF_ANOTHER_GPU} ({reason})")
    if "cuda" in reason.lower():
        return DeviceError(f"the GPU failed ({reason}): load the bundle again in a new process, or use --provider cpu")
    return EngineError(f"the engine did not start ({reason}): build it again with rsvl engine --rebuild")


def one_line(messages: Sequence[str], limit: int = 240) -> str:
    """The last two messages; empty where there are none."""
    return " ".join(" ".join(messages[-2:]).split())[:limit]


@cache
def log_class(trt: ModuleType) -> type:
    """A logger class for a TensorRT module that keeps errors in `errors` and shows nothing."""
    base: Any = trt.ILogger

    class Log(base):
        def __init__(self) -> None:
            base.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self.errors.append(message)

    return Log
