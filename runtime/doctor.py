"""What this machine has for running and making bundles, what is missing, and what that costs.

Packages are looked up by their metadata and not imported, so that asking is quick and a broken one does no harm.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from rsvl.runtime.backends.cuda.cuda_device import find_device
from rsvl.runtime.backends.onnxruntime.providers import Provider, onnxruntime, present_providers, why_not_started
from rsvl.runtime.backends.openvino import OPENVINO_PROVIDERS
from rsvl.runtime.backends.tensorrt.session import ENGINES_PROVIDER
from rsvl.runtime.errors import MissingComponentError
from rsvl.runtime.extras import COMPONENTS, remedy


@dataclass(frozen=True)
class Finding:
    """One thing that this machine has or lacks.

    Attributes:
        name: what was looked for.
        present: whether it is there.
        value: version, count or names.
        cost: what its absence costs; empty when it is there.
        remedy: the command that installs it, empty where there is none.
        mb: megabytes that this takes, roughly; None where it is not known.
    """

    name: str
    present: bool
    value: str = ""
    cost: str = ""
    remedy: str = ""
    mb: int | None = None


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

_LARGE_ALLOCATIONS_FAIL = "36.4.7"
_OTHER_BUILD = "pip uninstall onnxruntime-gpu; pip install onnxruntime; then rsvl engine (docs/jetson.md)"


def examine() -> list[Finding]:
    """Inspects this machine: Python, CPU, memory, accelerator, ONNX Runtime's providers, optional packages."""
    return [*_machine(), *_jetson(), *_providers(), *_packages(), _openvino()]


def _machine() -> Iterator[Finding]:
    yield Finding("python", True, f"{platform.python_version()} ({platform.system()} {platform.machine()})")
    yield Finding(
        "cores", True, str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    )
    features = _cpu_features()
    yield Finding("cpu features", bool(features), ", ".join(features), "" if features else "not known on this system")
    memory = _memory_gib()
    yield Finding("memory", memory is not None, f"{memory:.1f} GiB" if memory else "", "" if memory else "not known")
    accelerator = _accelerator()
    cost = "" if accelerator else "models run on the CPU"
    yield Finding("nvidia device", accelerator is not None, accelerator or "", cost)


def _providers() -> Iterator[Finding]:
    try:
        present = present_providers()
        version = onnxruntime().__version__
    except MissingComponentError:
        return  # reported among the packages
    names = [provider.name for provider in present if not why_not_started(provider)]
    yield Finding(
        "onnxruntime providers", bool(names), f"{', '.join(names)} ({version})", "" if names else "nothing runs"
    )
    yield from _not_started(present)
    device, why_not = find_device()
    if device is not None:
        yield Finding("cuda gpu", True, f"{device.gpu.label}, driver for CUDA {device.gpu.driver}")
    else:
        yield Finding("cuda gpu", False, "", f"no TensorRT engines run here: {why_not}")
    first = f"its {ENGINES_PROVIDER} where it has some, else " if device is not None else ""
    yield Finding("default backend", True, f"{first}{names[0]} (force another with --provider)")
    if Path("/proc/driver/nvidia").exists() and "cuda" not in [p.name for p in present] and not _jetson_linux():
        yield Finding("cuda provider", False, "", "the NVIDIA device lies idle", "pip install onnxruntime-gpu")


def _not_started(present: list[Provider]) -> Iterator[Finding]:
    """The providers that are present and run no kernel here: the list alone says nothing of that."""
    for provider in present:
        if reason := why_not_started(provider):
            cost = f"{provider.package} has it, but it runs nothing here: {reason}"
            other_build = _OTHER_BUILD if _jetson_linux() and provider.on_cuda else ""
            yield Finding(f"{provider.name} provider", False, "", cost, other_build)


def _jetson() -> Iterator[Finding]:
    """Jetson Linux, and what is known to go wrong with its release."""
    release = _jetson_linux()
    if release:
        yield Finding("jetson linux", True, release)
    if release == _LARGE_ALLOCATIONS_FAIL:
        cost = f"large GPU allocations fail in {release} (NvMapMemAllocInternalTagged, error 12)"
        yield Finding(
            "gpu memory", False, "", cost, "update Jetson Linux; until then restart and use a smaller --max-batch"
        )


def _jetson_linux() -> str:
    """The release of Jetson Linux, such as ``36.4.7``; empty on other machines."""
    found = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", _read("/etc/nv_tegra_release"))
    return ".".join(found.groups()) if found else ""


def _packages() -> Iterator[Finding]:
    """Each optional package once, OpenVINO left out."""
    for component in {component.name: component for component in COMPONENTS}.values():
        versions = [v for d in component.distributions if (v := _version(d)) is not None]
        if component.module == "openvino":
            continue
        if versions:
            yield Finding(component.name, True, versions[0])
        else:
            yield Finding(component.name, False, "", component.without, component.remedy, component.mb)


def _openvino() -> Finding:
    """OpenVINO runs a bundle only where it is asked to: how, and whether this CPU has its bfloat16."""
    version, bfloat16 = _version("openvino"), "BF16" in _cpu_features()
    if version is None:
        cost = "no --provider openvino-bf16, up to 1.9 times as fast" if bfloat16 else "no --provider openvino"
        return Finding("openvino", False, "", f"{cost} on this CPU", remedy("openvino"))
    names = " or ".join(name for name, type_ in OPENVINO_PROVIDERS.items() if bfloat16 or type_ != "bf16")
    without = "" if bfloat16 else "; the CPU has no bfloat16"
    return Finding("openvino", True, f"{version} (--provider {names}{without})")


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _cpu_features() -> list[str]:
    words = set(_read("/proc/cpuinfo").split())
    return [name for name, flags in _CPU_FEATURES.items() if words.intersection(flags)]


def _memory_gib() -> float | None:
    if sys.platform == "win32" or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30


def _accelerator() -> str | None:
    """The name of the NVIDIA GPU or Jetson board, from the driver's own files."""
    board = _read("/proc/device-tree/model").strip("\0\n ")
    if "NVIDIA" in board:
        return board
    for information in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        for line in _read(information).splitlines():
            if line.startswith("Model:"):
                return line.partition(":")[2].strip()
    return None


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
