"""The machine of a measurement: its name in reports and file names, and everything known about it."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

import rsvl
from rsvl.runtime.doctor import examine

ON_CPU = {"cpu", "openvino", "openvino-bf16"}
"""Providers that run on the CPU."""


def hardware(provider: str = "cpu") -> str:
    """What a provider runs on: the CPU with the number of its cores, or the accelerator."""
    if provider not in ON_CPU:
        found = describe()
        for name in ("nvidia device", "cuda gpu"):
            if name in found:
                return found[name].partition(",")[0]
    return f"{_cpu()}, {cores()} cores"


def _cpu() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found.group(1).strip() if found else platform.processor() or platform.machine()


def cores() -> int:
    """Number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe() -> dict[str, str]:
    """System, CPU, and everything that `rsvl doctor` finds: features, memory, accelerator, package versions."""
    own = {"rsvl": rsvl.__version__, "system": platform.platform(), "cpu": _cpu()}
    return own | {finding.name: finding.value for finding in examine() if finding.present}
