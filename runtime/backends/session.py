"""A bundle's graphs, loaded on the best that is here and wired by their tensors' names."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from rsvl.runtime.backends.onnxruntime.providers import (
    Provider,
    find_provider,
    onnxruntime,
    present_providers,
    share_memory,
    start,
)
from rsvl.runtime.backends.openvino import BY_OPENVINO, OpenVinoSession
from rsvl.runtime.backends.tensorrt.select import BY_ENGINES, open_engines
from rsvl.runtime.backends.tensorrt.session import EngineSession
from rsvl.runtime.bundle import ENGINES, Bundle
from rsvl.runtime.errors import BundleError, DeviceError, InputError, MissingComponentError, RsvlError, UsageError
from rsvl.runtime.manifest import GraphSpec
from rsvl.runtime.quantization import FP8

Observer = Callable[[str, float, float], None]
"""Told of each graph that ran: its name, when it began and when it ended, by `time.perf_counter`."""

Watcher = Callable[[str, Mapping[str, Any]], None]
"""Told of each graph that is to run: its name and its inputs by name, as `Session.run` was given them."""


class Session:
    """The graphs of one bundle, loaded on one provider. Its runs may come from several threads.

    Attributes:
        provider: what runs them: ``engines``, ``openvino``, ``openvino-bf16``, or the short name of an ONNX Runtime
            provider, such as ``cpu`` or ``cuda``.
        observer: told of each graph that runs, for those who measure; none by default.
        watcher: told what each graph is given, for those who calibrate; none by default.
    """

    def __init__(self, bundle: Bundle, provider: str | None = None, threads: int | None = None) -> None:
        """Loads all graphs.

        Args:
            bundle: where they are.
            provider: force ``engines``, ``openvino``, ``openvino-bf16``, or an ONNX Runtime provider by its short or
                full name; None takes engines where the bundle has some and they start, else the first of ONNX
                Runtime's providers that is present and starts.
            threads: CPU threads of one operation; None leaves it to what runs them, which takes the physical cores.

        Raises:
            UsageError: no such provider, or a thread count below 1.
            MissingComponentError: the forced provider is not installed or does not start here.
            EngineError: engines are forced and cannot be built or loaded.
            DeviceError: engines are forced and the GPU failed.
            BundleError: a graph that cannot be loaded, or whose tensors are not those of the manifest.
        """
        if threads is not None and threads < 1:
            raise UsageError(f"threads must be 1 or more, not {threads}")
        self.observer: Observer | None = None
        self.watcher: Watcher | None = None
        self._bundle, self._threads = bundle, threads
        self._graphs = {graph.name: graph for graph in bundle.manifest.model.graphs}
        backend = self._without_onnxruntime(None if provider is None else provider.lower())
        self._backend: EngineSession | OpenVinoSession | None = backend
        if backend is not None:
            self.provider = BY_ENGINES if isinstance(backend, EngineSession) else str(provider).lower()
            return
        forced = None if provider is None else find_provider(provider)
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

    @property
    def precision(self) -> str:
        """In what it computes, which says how far its outputs may differ: the bundle's precision, or ``bf16``."""
        precision = self._bundle.manifest.precision
        return "bf16" if BY_OPENVINO.get(self.provider) == "bf16" and precision in ("fp32", "fp16") else precision

    def run(self, tensors: Mapping[str, Any], graphs: Iterable[str]) -> dict[str, Any]:
        """Runs graphs in order; each takes its inputs by name from what is there and adds its outputs.

        Args:
            tensors: arrays, or what an earlier run returned, by tensor name; with engines also other libraries' arrays
                on the GPU (DLPack, CUDA array interface), which are not copied.
            graphs: the graphs' names.

        Returns:
            The outputs of these graphs by tensor name, on the device that made them; see `to_numpy`.

        Raises:
            DeviceError: the GPU ran out of memory or stopped answering.
            RsvlError: the graph failed for another reason.
        """
        outputs: dict[str, Any] = {}
        for name in graphs:
            spec = self._graphs[name]
            feeds = {t.name: outputs.get(t.name, tensors.get(t.name)) for t in spec.inputs}
            names = [t.name for t in spec.outputs]
            if self.watcher is not None:
                self.watcher(name, feeds)
            began = time.perf_counter()
            try:
                results = self._run_graph(name, names, feeds)
            except RsvlError as error:
                raise type(error)(f"graph {name} failed on {self.provider}: {error}") from error
            except Exception as error:
                raise _failure(name, self.provider, _first_line(error)) from error
            if self.observer is not None:
                self.observer(name, began, time.perf_counter())
            outputs.update(zip(names, results, strict=True))
        return outputs

    def taken(self, array: Any) -> Any:
        """An array as `run` takes it, with `shape`, `ndim` and `dtype`: with engines it may lie on the GPU already.

        Raises:
            InputError: no array, or one that lies where this session cannot read it.
        """
        if isinstance(self._backend, EngineSession):
            return self._backend.taken(array)
        if isinstance(array, np.ndarray) or not hasattr(array, "__dlpack__"):
            return np.asarray(array)
        try:
            return np.from_dlpack(array)
        except (BufferError, RuntimeError) as error:
            raise InputError(f"an array that is not in main memory: give NumPy to {self.provider}") from error

    def stage(self, raw: Iterable[str], without: Iterable[str] = ()) -> list[str]:
        """The graphs that can run when only these raw inputs are known, in order, leaving out those in `without`."""
        known, names = set(raw), []
        for graph in self._graphs.values():
            if all(t.name in known for t in graph.inputs):
                known.update(t.name for t in graph.outputs)
                names.append(graph.name)
        return [name for name in names if name not in set(without)]

    def _without_onnxruntime(self, asked: str | None) -> EngineSession | OpenVinoSession | None:
        """What runs the graphs by itself, where that is asked for, or where nothing is and the bundle has engines."""
        if asked in BY_OPENVINO:
            return OpenVinoSession(self._bundle, BY_OPENVINO[asked], self._threads)
        if asked in (None, BY_ENGINES):
            return open_engines(self._bundle, forced=asked is not None)
        return None

    def _run_graph(self, name: str, outputs: list[str], feeds: dict[str, Any]) -> list[Any]:
        """Runs one graph with its tensors bound to the device: on a GPU, features stay there between graphs."""
        if self._backend is not None:
            return list(self._backend.run_graph(name, outputs, feeds))
        session, value = self._sessions[name], onnxruntime().OrtValue
        device = "cuda" if find_provider(self.provider).on_cuda else "cpu"
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
        if provider.name == "cpu":
            share_memory(options)
        manifest = self._bundle.manifest
        only_weights = manifest.quantization is not None and not manifest.quantization.activations
        if only_weights or manifest.precision == FP8:
            # Weights become float once, when they are loaded, and not again in every run. And fp8 would be taken for
            # int8: its nodes would be joined to operations that do not know it.
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        path, engines = self._bundle.path(graph.file), self._bundle.root / ENGINES
        return start(path, options, provider, present_providers(), engines)


def to_numpy(tensor: Any) -> np.ndarray:
    """A tensor that `Session.run` returned, as an array in main memory."""
    return tensor if isinstance(tensor, np.ndarray) else tensor.numpy()


def _check_tensors(session: Any, graph: GraphSpec, bundle: Bundle) -> None:
    inputs, outputs = ({t.name for t in side} for side in (session.get_inputs(), session.get_outputs()))
    if inputs != {t.name for t in graph.inputs} or not {t.name for t in graph.outputs} <= outputs:
        raise BundleError(
            f"{bundle.source}: {graph.file} takes {sorted(inputs)} and gives {sorted(outputs)}, the manifest says "
            "otherwise: export it again"
        )


def _failure(graph: str, provider: str, reason: str) -> RsvlError:
    """What to tell of a graph that ONNX Runtime could not run."""
    if re.search("allocate memory|out of memory|bad_alloc|MemoryAllocation", reason, re.IGNORECASE):
        return DeviceError(f"graph {graph} ran out of memory on {provider}: use a smaller --tile or fewer at once")
    return RsvlError(f"graph {graph} failed on {provider} ({reason}): try another provider")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
