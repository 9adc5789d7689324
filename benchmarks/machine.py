"""The machine that measured: its name in a report and in the name of the report's file, and all that is known of it."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

import rsvl
from rsvl.runtime.doctor import examine

ON_CPU = {"cpu", "openvino", "openvino-bf16"}
"""Providers that leave the work to the processor."""


def hardware(provider: str = "cpu") -> str:
    """What a provider runs on: the processor and how many of its cores this machine has, or the accelerator."""
    if provider not in ON_CPU:
        found = describe()
        for name in ("nvidia device", "cuda gpu"):
            if name in found:
                return found[name].partition(",")[0]
    return f"{_processor()}, {cores()} cores"


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found.group(1).strip() if found else platform.processor() or platform.machine()


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe() -> dict[str, str]:
    """System, processor, and all that `rsvl doctor` finds: features, memory, accelerator, packages' versions."""
    own = {"rsvl": rsvl.__version__, "system": platform.platform(), "processor": _processor()}
    return own | {finding.name: finding.value for finding in examine() if finding.present}
