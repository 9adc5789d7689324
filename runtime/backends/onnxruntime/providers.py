"""ONNX Runtime's execution providers: which there are, which are installed, and how each is started."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from rsvl.runtime.backends.backend import first_line
from rsvl.runtime.errors import MissingComponentError
from rsvl.runtime.extras import remedy


@dataclass(frozen=True)
class Provider:
    """An ONNX Runtime execution provider.

    Attributes:
        name: our short name.
        full_name: ONNX Runtime's name.
        package: the distribution that contains it.
        plugin: the module that registers it, for a provider that is a package of its own beside ONNX Runtime.
        on_cuda: whether its inputs and outputs lie in an NVIDIA GPU's memory.
    """

    name: str
    full_name: str
    package: str
    plugin: str = ""
    on_cuda: bool = False


NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"
"""The environment variable that `rsvl` sets to 1 when it is imported, unless the user has set it."""

#: In order of preference: the first that is present and starts is used. The CPU, which every build has, is last.
PROVIDERS = (
    Provider("tensorrt", "TensorrtExecutionProvider", "onnxruntime-gpu", on_cuda=True),
    Provider(
        "nvtensorrtrtx",
        "NvTensorRTRTXExecutionProvider",
        "onnxruntime-ep-nv-tensorrt-rtx",
        plugin="onnxruntime_ep_nv_tensorrt_rtx",
        on_cuda=True,
    ),
    Provider("cuda", "CUDAExecutionProvider", "onnxruntime-gpu", on_cuda=True),
    Provider("migraphx", "MIGraphXExecutionProvider", "onnxruntime-migraphx"),
    Provider("directml", "DmlExecutionProvider", "onnxruntime-directml"),
    Provider("coreml", "CoreMLExecutionProvider", "onnxruntime"),
    Provider("cpu", "CPUExecutionProvider", "onnxruntime"),
)


_NEGATION = bytes.fromhex(
    "080712003a320a0b0a017812017922034e65671201675a0f0a0178120a0a08080112040a020801620f0a0179120a0a08080112040a02"
    "080142040a00100d"
)
"""An ONNX graph of one node, y = -x, float32 [1]."""


def onnxruntime() -> ModuleType:
    """The onnxruntime module, imported on first use and silenced: its failures arrive as exceptions.

    Raises:
        MissingComponentError: it is not installed.
    """
    try:
        import onnxruntime as module
    except ImportError as error:
        raise MissingComponentError(f"running a bundle needs ONNX Runtime: {remedy('onnxruntime')}") from error
    module.set_default_logger_severity(4)
    if os.environ.get(NO_TELEMETRY) == "1" and hasattr(module, "disable_telemetry_events"):
        module.disable_telemetry_events()  # where it was imported before rsvl, or is too old for the variable
    return module


def present_providers() -> list[Provider]:
    """The known providers that the installed ONNX Runtime has, built in or by a plugin, the preferred first."""
    built_in = onnxruntime().get_available_providers()
    return [p for p in PROVIDERS if p.full_name in built_in or plugin_devices(p)]


@cache
def plugin_devices(provider: Provider) -> tuple[Any, ...]:
    """The devices that a provider's plugin finds; none where the plugin is absent or does not load here."""
    if not provider.plugin:
        return ()
    ort = onnxruntime()
    try:
        module = import_module(provider.plugin)
        ort.register_execution_provider_library(provider.full_name, module.get_library_path())
    except Exception:  # absent, or without the driver's libraries: then it is not present
        return ()
    return tuple(device for device in ort.get_ep_devices() if device.ep_name == provider.full_name)


def starts(provider: Provider) -> bool:
    """Whether a provider that is present runs a kernel here."""
    return not why_not_started(provider)


@cache
def why_not_started(provider: Provider) -> str:
    """Runs a graph of one node on a provider that is present.

    What is built in may lack its libraries or its device. A build for other GPUs even starts, and fails at the first
    kernel.

    Returns:
        Empty where it ran; otherwise the reason in one phrase.
    """
    ort = onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        if devices := plugin_devices(provider):
            options.add_provider_for_devices(list(devices), {})
            session = ort.InferenceSession(_NEGATION, options, enable_fallback=0)
        else:
            session = ort.InferenceSession(_NEGATION, options, providers=[provider.full_name], enable_fallback=0)
        if session.get_providers()[0] != provider.full_name:
            return "its device, driver or libraries are missing"
        (found,) = session.run(None, {"x": np.array([2], np.float32)})
    except Exception as error:  # whatever its libraries raise
        return first_line(error)
    return "" if found.tolist() == [-2] else f"it computes -2 as {found.tolist()}"


def find_provider(name: str) -> Provider | None:
    """A provider by its short or full name, in any case; None where there is none of that name."""
    return next((p for p in PROVIDERS if name.lower() in (p.name, p.full_name.lower())), None)


def share_memory(options: Any) -> None:
    """Lets a session on the CPU take its tensors from one arena that all such sessions share.

    Otherwise each keeps an arena of its own, though of a bundle's graphs only one runs at a time. That arena doubles
    whenever it is full, where this one grows by what is requested; and it plans a block for each input size beside
    what the first run has allocated already.

    Args:
        options: `onnxruntime.SessionOptions`.
    """
    _register_arena()
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.enable_mem_pattern = False


@cache
def _register_arena() -> None:
    ort = onnxruntime()
    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(memory, ort.OrtArenaCfg({"arena_extend_strategy": 1}))  # 1: as requested


def start(path: Path, options: Any, provider: Provider, present: list[Provider], engines: Path) -> Any:
    """An ONNX Runtime session of a graph.

    Args:
        path: the graph's file.
        options: `onnxruntime.SessionOptions`.
        provider: what runs it; the nodes that it leaves go to CUDA after TensorRT, and to the CPU last.
        present: the providers that are installed.
        engines: where TensorRT's provider caches its own engines.

    Raises:
        Exception: as ONNX Runtime raises them.
    """
    ort = onnxruntime()
    devices = plugin_devices(provider)
    if devices:
        options.add_provider_for_devices(list(devices), _options(provider, engines))
        return ort.InferenceSession(str(path), options, enable_fallback=0)
    after = {"tensorrt": ["cuda", "cpu"], "cpu": []}.get(provider.name, ["cpu"])
    chain = [provider, *(p for p in present if p.name in after)]
    return ort.InferenceSession(
        str(path),  # from the path: from bytes takes twice the weights' memory
        options,
        providers=[p.full_name for p in chain],
        provider_options=[_options(p, engines) for p in chain],
        enable_fallback=0,
    )


def _options(provider: Provider, engines: Path) -> dict[str, str]:
    if provider.name == "tensorrt":
        return {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(engines), "trt_timing_cache_enable": "1"}
    if provider.name == "nvtensorrtrtx":
        return {"nv_runtime_cache_path": str(engines)}
    return {}
