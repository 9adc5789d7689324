"""A GPU that uses energy as it is told, behind NVML's own names."""
# ruff: noqa: N802

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any


class Nvml:
    """The part of `pynvml` that is called, as its documentation has it."""

    class NVMLError(Exception):
        """NVML's own."""

    def __init__(self, counts_energy: bool = True, starts: bool = True) -> None:
        self.millijoules, self.counts_energy, self.starts, self.running = 1000, counts_energy, starts, False

    def nvmlInit(self) -> None:
        if not self.starts:
            raise self.NVMLError("Driver Not Loaded")
        self.running = True

    def nvmlShutdown(self) -> None:
        self.running = False

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetName(self, device: int) -> str:
        return f"GPU {device}"

    def nvmlDeviceGetTotalEnergyConsumption(self, device: int) -> int:
        if not self.counts_energy:
            raise self.NVMLError("Not Supported")
        return self.millijoules

    def nvmlDeviceGetComputeRunningProcesses(self, device: int) -> list[Any]:
        return [SimpleNamespace(pid=1, usedGpuMemory=9), SimpleNamespace(pid=os.getpid(), usedGpuMemory=5_000_000)]
