"""GPU memory and energy.

By NVML, through `nvidia-ml-py` (its module is `pynvml`). A Jetson has no NVML, and its GPU shares the main memory:
there `tegrastats` gives the energy of the whole module.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from rsvl.benchmarks.bundle import tegrastats
from rsvl.runtime.extras import remedy


@dataclass(frozen=True)
class GpuUse:
    """Readings of the GPU's own counters.

    Attributes:
        name: the GPU's.
        memory_mb: megabytes of GPU memory that this process holds after the work; None if the driver does not report
            it (in a container, for example) or the GPU has no memory of its own.
        joules_per_run: energy of one run, including all that the GPU, or a Jetson's module, used meanwhile; None on
            GPUs without the counter.
    """

    name: str
    memory_mb: float | None
    joules_per_run: float | None


def metered(work: Callable[[], Any], rounds: int) -> tuple[GpuUse | None, str]:
    """Runs `work` `rounds` times between two readings.

    Returns:
        The readings; or None and the reason.
    """
    if shutil.which(tegrastats.PROGRAM) is not None:
        return GpuUse("Jetson", None, tegrastats.joules(work, rounds)), ""
    try:
        import pynvml
    except ImportError:
        return None, f"GPU memory and energy need NVML: {remedy('pynvml')}"
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return None, f"NVML does not start ({error})"
    try:
        return _read(pynvml, work, rounds), ""
    except pynvml.NVMLError as error:
        return None, f"NVML failed ({error})"
    finally:
        pynvml.nvmlShutdown()


def _read(nvml: ModuleType, work: Callable[[], Any], rounds: int) -> GpuUse:
    device = _device(nvml)
    before = _millijoules(nvml, device)
    for _ in range(rounds):
        work()
    after = _millijoules(nvml, device)
    joules = None if before is None or after is None else (after - before) / 1000 / rounds
    name = nvml.nvmlDeviceGetName(device)
    return GpuUse(name.decode() if isinstance(name, bytes) else name, _memory_mb(nvml, device), joules)


def _device(nvml: ModuleType) -> Any:
    """The first GPU that is visible to CUDA in this process."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0].strip() or "0"
    if first.isdigit():
        return nvml.nvmlDeviceGetHandleByIndex(int(first))
    return nvml.nvmlDeviceGetHandleByUUID(first)


def _millijoules(nvml: ModuleType, device: Any) -> int | None:
    try:
        return nvml.nvmlDeviceGetTotalEnergyConsumption(device)
    except nvml.NVMLError:
        return None


def _memory_mb(nvml: ModuleType, device: Any) -> float | None:
    processes = nvml.nvmlDeviceGetComputeRunningProcesses(device)
    own = [process.usedGpuMemory for process in processes if process.pid == os.getpid()]
    return own[0] / 1e6 if own and own[0] is not None else None
