"""The machine of a measurement: its name in reports and file names, and everything known about it."""

from __future__ import annotations

import platform

import rsvl
from rsvl.runtime.backends.per_graph import ON_CPU
from rsvl.runtime.doctor import examine
from rsvl.runtime.hardware import cores, cpu_model


def hardware(provider: str = "cpu") -> str:
    """What a provider runs on: the CPU with the number of its cores, or the accelerator."""
    if provider not in ON_CPU:
        found = describe()
        for name in ("nvidia device", "cuda gpu"):
            if name in found:
                return found[name].partition(",")[0]
    return f"{cpu_model()}, {cores()} cores"


def describe() -> dict[str, str]:
    """System, CPU, and everything that `rsvl doctor` finds: features, memory, accelerator, package versions."""
    own = {"rsvl": rsvl.__version__, "system": platform.platform(), "cpu": cpu_model()}
    return own | {finding.name: finding.value for finding in examine() if finding.present}
