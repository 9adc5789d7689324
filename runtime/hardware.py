"""What this machine computes with: CPU, cores, NVIDIA device, as the system's own files name them."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

# /proc/cpuinfo's words → what they speed up; on x86 and on Arm.
_CPU_FEATURES = {
    "AVX2": ("avx2",),
    "AVX-512": ("avx512f",),
    "VNNI (int8)": ("avx512_vnni", "avx_vnni"),
    "BF16": ("avx512_bf16", "bf16"),
    "AMX": ("amx_tile",),
    "NEON": ("asimd",),
    "FP16": ("avx512_fp16", "asimdhp"),
    "I8MM (int8)": ("i8mm",),
}


def cores() -> int:
    """Number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_model() -> str:
    """The CPU's name; its architecture where the system does not tell."""
    found = re.search(r"^model name\s*:\s*(.+)$", read_system_file("/proc/cpuinfo"), re.MULTILINE)
    return found.group(1).strip() if found else platform.processor() or platform.machine()


def cpu_features() -> list[str]:
    """Instructions of the CPU that speed models up, such as ``AVX-512``; none where the system does not tell."""
    words = set(read_system_file("/proc/cpuinfo").split())
    return [name for name, flags in _CPU_FEATURES.items() if words.intersection(flags)]


def nvidia_device() -> str | None:
    """The name of the NVIDIA GPU or Jetson board, from the driver's own files."""
    board = read_system_file("/proc/device-tree/model").strip("\0\n ")
    if "NVIDIA" in board:
        return board
    for information in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        for line in read_system_file(information).splitlines():
            if line.startswith("Model:"):
                return line.partition(":")[2].strip()
    return None


def read_system_file(path: str | Path) -> str:
    """A file's text; empty where it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
