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
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.errors import MissingComponentError
from rsvl.runtime.extras import COMPONENTS, remedy
from rsvl.runtime.hardware import cores, cpu_features, nvidia_device, read_system_file
from rsvl.runtime.tuning.store import find_choice


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


_LARGE_ALLOCATIONS_FAIL = "36.4.7"
_OTHER_BUILD = "pip uninstall onnxruntime-gpu; pip install onnxruntime; then rsvl engine (docs/jetson.md)"


def examine() -> list[Finding]:
    """Inspects this machine: Python, CPU, memory, accelerator, ONNX Runtime's providers, optional packages."""
    return [*_machine(), *_jetson(), *_providers(), *_packages(), _openvino()]


def examine_bundle(path: str | Path) -> list[Finding]:
    """What `rsvl tune` chose to run a bundle on this machine.

    Raises:
        BundleError: it is none.
    """
    bundle = Bundle(path, check=False)
    choice = find_choice(bundle)
    if choice is not None:
        return [Finding("tuned backend", True, f"{choice.summary} ({choice.measured})")]
    cost = f"{bundle.source} runs on the default backend, measured or not"
    return [Finding("tuned backend", False, "", cost, f"rsvl tune {bundle.source}")]


def _machine() -> Iterator[Finding]:
    yield Finding("python", True, f"{platform.python_version()} ({platform.system()} {platform.machine()})")
    yield Finding("cores", True, str(cores()))
    features = cpu_features()
    yield Finding("cpu features", bool(features), ", ".join(features), "" if features else "not known on this system")
    memory = _memory_gib()
    yield Finding("memory", memory is not None, f"{memory:.1f} GiB" if memory else "", "" if memory else "not known")
    accelerator = nvidia_device()
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
    found = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", read_system_file("/etc/nv_tegra_release"))
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
    version, bfloat16 = _version("openvino"), "BF16" in cpu_features()
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


def _memory_gib() -> float | None:
    if sys.platform == "win32" or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
