"""Machines to build engines for: this one, every GPU of an architecture, or a device that builds for itself alone."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rsvl.runtime.backends.tensorrt.keys import ANY
from rsvl.runtime.errors import EngineError, UsageError
from rsvl.runtime.quantization import FP8

HERE = "here"
_FIRST_WITH_FP8 = 89


@dataclass(frozen=True)
class Target:
    """A device that builds its own engines.

    Attributes:
        name: as `--target` takes it.
        title: as its maker calls it.
        capability: compute capability, such as ``sm_87``.
        memory: gigabytes that CPU and GPU share.
        tensorrt: which TensorRT it has, and from where.
        before: what to do on it before building, so that the builder measures what will run.
    """

    name: str
    title: str
    capability: str
    memory: str
    tensorrt: str
    before: tuple[str, ...] = ()


_ORIN = "10.3 with JetPack 6.1 to 6.2.3, 10.16 with JetPack 7.2"
_THOR = "10.13 with JetPack 7.0 and 7.1, 10.16 with JetPack 7.2"
_FULL_POWER = ("sudo nvpmodel -m 0", "sudo jetson_clocks")

TARGETS = {
    target.name: target
    for target in (
        Target("jetson-orin", "Jetson AGX Orin", "sm_87", "32 or 64", _ORIN, _FULL_POWER),
        Target("jetson-orin-nx", "Jetson Orin NX", "sm_87", "8 or 16", _ORIN, _FULL_POWER),
        Target("jetson-orin-nano", "Jetson Orin Nano", "sm_87", "4 or 8", _ORIN, _FULL_POWER),
        Target("jetson-thor", "Jetson AGX Thor", "sm_110", "128", _THOR, _FULL_POWER),
        Target("sbsa", "an Arm server with an NVIDIA GPU", "", "", "10 or 11 from pip"),
        Target("server", "an x86-64 machine with an NVIDIA GPU", "", "", "10 or 11 from pip"),
    )
}


def is_architecture(target: str) -> bool:
    """Whether a target is ``any`` or one such as ``sm_86``: what TensorRT for RTX builds for on any machine."""
    return target == ANY or re.fullmatch(r"sm_\d+", target) is not None


def find_target(name: str) -> Target:
    """A device by its name.

    Raises:
        UsageError: no such target.
    """
    if name not in TARGETS:
        known = ", ".join(TARGETS)
        raise UsageError(
            f"unknown target {name!r}: choose {HERE}, {ANY}, a compute capability such as sm_86, or {known}"
        )
    return TARGETS[name]


def check_precision(precision: str, architecture: str) -> None:
    """Checks before a build that GPUs of an architecture have a bundle's precision.

    Args:
        precision: the bundle's.
        architecture: a compute capability such as ``sm_86``; ``any`` or empty where it is not known.

    Raises:
        EngineError: they do not.
    """
    number = re.fullmatch(r"sm_(\d+)", architecture)
    if precision == FP8 and number is not None and int(number[1]) < _FIRST_WITH_FP8:
        raise EngineError(
            f"{architecture} has no fp8, which came with sm_{_FIRST_WITH_FP8} (Ada): export with --int8 or --fp16"
        )
