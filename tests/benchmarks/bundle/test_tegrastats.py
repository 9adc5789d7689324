"""Power of a Jetson by what tegrastats prints."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from rsvl.benchmarks.bundle import gpu_meter, tegrastats

LINES = {
    "Orin NX": (
        "07-19-2023 14:50:10 RAM 2448/15388MB (lfb 6x4MB) SWAP 0/7694MB (cached 0MB) CPU [1%@729,off] GR3D_FREQ 0% "
        "cpu@47.9C VDD_IN 4880mW/4700mW VDD_CPU_GPU_CV 600mW/590mW VDD_SOC 1400mW/1390mW",
        4.88,
    ),
    "AGX Orin": (
        "RAM 4181/30592MB CPU [0%@729] gpu@43C VDD_GPU_SOC 2000mW/2000mW VDD_CPU_CV 400mW/400mW "
        "VIN_SYS_5V0 3600mW/3600mW",
        6.0,
    ),
    "Xavier NX": ("RAM 1990/7764MB AO@34C VDD_IN 4067/4101 VDD_CPU_GPU_CV 738/755 VDD_SOC 1189/1190", 4.067),
    "Nano": ("RAM 2020/3964MB IRAM 0/252kB GPU@28C POM_5V_IN 2040/2100 POM_5V_GPU 0/0 POM_5V_CPU 204/210", 2.04),
    "no rails": ("RAM 2448/15388MB SWAP 0/7694MB CPU [1%@729]", None),
}


@pytest.mark.parametrize(("line", "expected"), LINES.values(), ids=LINES)
def test_power_is_of_the_rail_that_feeds_the_module_or_of_all(line: str, expected: float | None) -> None:
    assert tegrastats.watts(line) == expected


@pytest.fixture
def jetson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tegrastats that tells 5 watts whenever asked, first of the programs; it leaves a file when it ends."""
    program = tmp_path / "tegrastats"
    program.write_text(
        f"#!/bin/bash\ntrap 'touch {tmp_path}/ended; exit' TERM\n"
        "while true; do echo 'RAM 1/2MB VDD_IN 5000mW/4000mW VDD_SOC 900mW/900mW'; sleep 0.01; done\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return tmp_path


def test_energy_of_a_run_is_the_mean_power_times_its_time(jetson: Path) -> None:
    began = time.perf_counter()
    use, why_not = gpu_meter.metered(lambda: time.sleep(0.05), rounds=4)
    longest = (time.perf_counter() - began) / 4
    assert use is not None and use.joules_per_run is not None
    assert (use.name, use.memory_mb, why_not) == ("Jetson", None, "")
    assert 5 * 0.05 <= use.joules_per_run <= 5 * longest
    assert (jetson / "ended").exists()


def test_work_that_fails_ends_the_program(jetson: Path) -> None:
    def work() -> None:
        time.sleep(0.05)
        raise ValueError("work")

    with pytest.raises(ValueError, match="work"):
        gpu_meter.metered(work, rounds=1)
    assert (jetson / "ended").exists()
