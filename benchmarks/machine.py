"""The machine that measured: its name in a report and in the name of the report's file, and all that is known of it."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

from rsvl.runtime.doctor import examine

ON_CPU = {"cpu", "openvino"}
"""Providers that leave the work to the processor."""


def hardware(provider: str = "cpu") -> str:
    """What a provider runs on: the processor and how many of its cores this machine has, or the accelerator."""
    accelerator = None if provider in ON_CPU else describe().get("nvidia device")
    if accelerator is not None:
        return accelerator
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        found = None
    name = found.group(1).strip() if found else platform.processor() or platform.machine()
    return f"{name}, {cores()} cores"


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe() -> dict[str, str]:
    """All that `rsvl doctor` finds: system, processor features, memory, accelerator, packages with their versions."""
    return {finding.name: finding.value for finding in examine() if finding.present}


def file_stem(*words: str) -> str:
    """A file's name made of words: small letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", " ".join(words).lower()).strip("-")
