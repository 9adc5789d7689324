"""A bundle's graphs in ONNX Runtime: choosing the provider, loading, and wiring graphs by their tensors' names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from rsvl.runtime.bundle import ENGINES, Bundle
from rsvl.runtime.errors import BundleError, MissingComponentError, RsvlError, UsageError
from rsvl.runtime.manifest import GraphSpec


@dataclass(frozen=True)
class Provider:
    """An ONNX Runtime execution provider: our short name, its own name, the package that brings it."""

    name: str
    full_name: str
    package: str


#: In the order of preference: the first that is present and starts is used.
PROVIDERS = (
    Provider("tensorrt", "TensorrtExecutionProvider", "onnxruntime-gpu"),
    Provider("cuda", "CUDAExecutionProvider", "onnxruntime-gpu"),
    Provider("migraphx", "MIGraphXExecutionProvider", "onnxruntime-migraphx"),
    Provider("openvino", "OpenVINOExecutionProvider", "onnxruntime-openvino"),
    Provider("directml", "DmlExecutionProvider", "onnxruntime-directml"),
    Provider("coreml", "CoreMLExecutionProvider", "onnxruntime"),
    Provider("cpu", "CPUExecutionProvider", "onnxruntime"),
)


def onnxruntime() -> ModuleType:
    """The onnxruntime module, imported on first use and silenced: its failures arrive as exceptions.

    Raises:
        MissingComponentError: it is not installed.
    """
    try:
        import onnxruntime as module
    except ImportError as error:
        raise MissingComponentError("running a bundle needs ONNX Runtime: pip install onnxruntime") from error
    module.set_default_logger_severity(4)
    return module


def present_providers() -> list[Provider]:
    """The known providers that the installed ONNX Runtime was built with, the preferred first."""
    built_in = onnxruntime().get_available_providers()
    return [provider for provider in PROVIDERS if provider.full_name in built_in]


class Session:
    """The graphs of one bundle, loaded on one provider. Its runs may come from several threads.

    Attributes:
        provider: short name of the provider that runs them, such as ``cpu`` or ``cuda``.
    """

    def __init__(self, bundle: Bundle, provider: str | None = None, threads: int | None = None) -> None:
        """Loads all graphs.

        Args:
            bundle: where they are.
            provider: force one of `PROVIDERS` (short or full name); None takes the first that is present and starts.
            threads: CPU threads of one operation; None leaves it to ONNX Runtime, which takes the physical cores.

        Raises:
            UsageError: no such provider, or a thread count below 1.
            MissingComponentError: the forced provider is not installed or does not start here.
            BundleError: a graph that ONNX Runtime cannot load, or whose tensors are not those of the manifest.
        """
        if threads is not None and threads < 1:
            raise UsageError(f"threads must be 1 or more, not {threads}")
        self._bundle, self._threads = bundle, threads
        self._graphs = {graph.name: graph for graph in bundle.manifest.model.graphs}
        forced = None if provider is None else _find(provider)
        candidates = present_providers() if forced is None else [forced]
        for candidate in candidates:
            loaded = self._load(candidate, forced=forced is not None)
            if loaded is not None:
                self._sessions, self.provider = loaded, candidate.name
                return
        names = ", ".join(p.name for p in present_providers())
        package = candidates[-1].package
        raise MissingComponentError(
            f"the provider {candidates[-1].name} does not start here (present: {names}): pip install {package}"
        )

    def run(self, tensors: Mapping[str, Any], graphs: Iterable[str]) -> dict[str, Any]:
        """Runs graphs in order; each takes its inputs by name from what is there and adds its outputs.

        Args:
            tensors: arrays, or what an earlier run returned, by tensor name.
            graphs: the graphs' names.

        Returns:
            The outputs of these graphs by tensor name, as ONNX Runtime's values on its device; see `to_numpy`.

        Raises:
            RsvlError: ONNX Runtime failed, out of memory for example.
        """
        outputs: dict[str, Any] = {}
        for name in graphs:
            spec = self._graphs[name]
            feeds = {t.name: outputs.get(t.name, tensors.get(t.name)) for t in spec.inputs}
            names = [t.name for t in spec.outputs]
            try:
                results = self._run_graph(name, names, feeds)
            except Exception as error:
                raise RsvlError(
                    f"graph {name} failed on {self.provider} ({_first_line(error)}): try another provider"
                ) from error
            outputs.update(zip(names, results, strict=True))
        return outputs

    def stage(self, raw: Iterable[str], without: Iterable[str] = ()) -> list[str]:
        """The graphs that can run when only these raw inputs are known, in order, leaving out those in `without`."""
        known, names = set(raw), []
        for graph in self._graphs.values():
            if all(t.name in known for t in graph.inputs):
                known.update(t.name for t in graph.outputs)
                names.append(graph.name)
        return [name for name in names if name not in set(without)]

    def _run_graph(self, name: str, outputs: list[str], feeds: dict[str, Any]) -> list[Any]:
        """Runs one graph with its tensors bound to the device: on a GPU, features stay there between graphs."""
        session, value = self._sessions[name], onnxruntime().OrtValue
        device = "cuda" if self.provider in ("cuda", "tensorrt") else "cpu"
        binding = session.io_binding()
        for key, tensor in feeds.items():
            bound = value.ortvalue_from_numpy(tensor, device, 0) if isinstance(tensor, np.ndarray) else tensor
            binding.bind_ortvalue_input(key, bound)
        for key in outputs:
            binding.bind_output(key, device, 0)
        session.run_with_iobinding(binding)
        return list(binding.get_outputs())

    def _load(self, provider: Provider, forced: bool) -> dict[str, Any] | None:
        """All graphs' sessions on a provider, None where it is absent or does not start."""
        if provider not in present_providers():
            return None
        return_none = not forced and provider.name != "cpu"
        sessions = {}
        for graph in self._graphs.values():
            try:
                session = self._start(graph, provider)
            except Exception as error:
                if return_none:
                    return None
                raise BundleError(
                    f"{self._bundle.source}: ONNX Runtime cannot load {graph.file} on {provider.name} "
                    f"({_first_line(error)}): export it again or upgrade onnxruntime"
                ) from error
            if session.get_providers()[0] != provider.full_name:
                return None  # built in, but its libraries or its device are not here
            _check_tensors(session, graph, self._bundle)
            sessions[graph.name] = session
        return sessions

    def _start(self, graph: GraphSpec, provider: Provider) -> Any:
        ort = onnxruntime()
        options = ort.SessionOptions()
        options.log_severity_level = 4
        if self._threads is not None:
            options.intra_op_num_threads = self._threads
        # Each graph has its own threads: let those of the last one sleep at once instead of spinning beside the next.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        chain = _fallbacks(provider)
        return ort.InferenceSession(
            str(self._bundle.path(graph.file)),  # from the path: from bytes takes twice the weights' memory
            options,
            providers=[p.full_name for p in chain],
            provider_options=[_options(p, self._bundle.root / ENGINES) for p in chain],
            enable_fallback=0,
        )


def to_numpy(tensor: Any) -> np.ndarray:
    """A tensor that `Session.run` returned, as an array in main memory."""
    return tensor if isinstance(tensor, np.ndarray) else tensor.numpy()


def _find(name: str) -> Provider:
    for provider in PROVIDERS:
        if name.lower() in (provider.name, provider.full_name.lower()):
            return provider
    raise UsageError(f"unknown provider {name!r}: choose one of {', '.join(p.name for p in PROVIDERS)}")


def _fallbacks(provider: Provider) -> list[Provider]:
    """The provider and those that take the nodes that it leaves: CUDA after TensorRT, the CPU last."""
    after = {"tensorrt": ["cuda", "cpu"], "cpu": []}.get(provider.name, ["cpu"])
    return [provider, *(p for p in present_providers() if p.name in after)]


def _options(provider: Provider, engines: Path) -> dict[str, str]:
    if provider.name != "tensorrt":
        return {}
    return {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(engines), "trt_timing_cache_enable": "1"}


def _check_tensors(session: Any, graph: GraphSpec, bundle: Bundle) -> None:
    inputs, outputs = ({t.name for t in side} for side in (session.get_inputs(), session.get_outputs()))
    if inputs != {t.name for t in graph.inputs} or not {t.name for t in graph.outputs} <= outputs:
        raise BundleError(
            f"{bundle.source}: {graph.file} takes {sorted(inputs)} and gives {sorted(outputs)}, the manifest says "
            "otherwise: export it again"
        )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
