"""GPU memory and energy by NVML's counters."""

from __future__ import annotations

import sys

import pytest

from rsvl.benchmarks.bundle import gpu_meter
from tests.support.fake_nvml import Nvml


def metered(nvml: Nvml | None, monkeypatch: pytest.MonkeyPatch) -> tuple[gpu_meter.GpuUse | None, str]:
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,0")

    def work() -> None:
        if nvml is not None:
            nvml.millijoules += 3000

    return gpu_meter.metered(work, rounds=4)


def test_gpu_memory_and_energy_are_this_process_s_and_one_run_s(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = Nvml()
    assert metered(nvml, monkeypatch) == (gpu_meter.GpuUse("GPU 2", 5.0, 3.0), "")
    assert not nvml.running
    assert metered(Nvml(counts_energy=False), monkeypatch)[0] == gpu_meter.GpuUse("GPU 2", 5.0, None)


def test_a_gpu_that_cannot_be_read_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    assert metered(None, monkeypatch) == (None, "GPU memory and energy need NVML: pip install nvidia-ml-py")
    assert metered(Nvml(starts=False), monkeypatch) == (None, "NVML does not start (Driver Not Loaded)")
