"""A bundle's graphs, loaded on the best backend that is here and wired by their tensors' names."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from rsvl.runtime.backends.backend import Backend
from rsvl.runtime.backends.onnxruntime.providers import PROVIDERS, find_provider
from rsvl.runtime.backends.onnxruntime.session import open_onnxruntime
from rsvl.runtime.backends.openvino import OPENVINO_PROVIDERS, OpenVinoSession
from rsvl.runtime.backends.tensorrt.select import open_engines
from rsvl.runtime.backends.tensorrt.session import ENGINES_PROVIDER
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.errors import RsvlError, UsageError, VerificationError

TimingHook = Callable[[str, float, float], None]
"""Called after each graph with its name, when it started and when it ended, by `time.perf_counter`."""

InputHook = Callable[[str, Mapping[str, Any]], None]
"""Called before each graph with its name and its inputs by name, as `Session.run` got them."""


class Session:
    """The graphs of one bundle, loaded on one backend. Its runs may come from several threads.

    Attributes:
        provider: what runs them: ``engines``, ``openvino``, ``openvino-bf16``, or the short name of an ONNX Runtime
            provider, such as ``cpu`` or ``cuda``.
        precision: what it computes in, which limits how far its outputs may differ: the bundle's, or ``bf16``.
        timing_hook: called after each graph, to measure; None by default.
        input_hook: called before each graph, to calibrate; None by default.
    """

    def __init__(self, bundle: Bundle, provider: str | None = None, threads: int | None = None) -> None:
        """Loads all graphs.

        Args:
            bundle: where they are.
            provider: force ``engines``, ``openvino``, ``openvino-bf16``, or an ONNX Runtime provider by its short or
                full name; None takes engines where the bundle has some and they start, else the first of ONNX
                Runtime's providers that is present and starts.
            threads: CPU threads per operation; None leaves it to the backend, which takes the physical cores.

        Raises:
            UsageError: no such provider, or a thread count below 1.
            MissingComponentError: the forced provider is not installed or does not start here.
            EngineError: engines are forced and cannot be built or loaded.
            DeviceError: engines are forced and the GPU failed.
            BundleError: a graph that cannot be loaded, or whose tensors are not those of the manifest.
        """
        if threads is not None and threads < 1:
            raise UsageError(f"threads must be 1 or more, not {threads}")
        self.timing_hook: TimingHook | None = None
        self.input_hook: InputHook | None = None
        self._process = os.getpid()
        self._graphs = {graph.name: graph for graph in bundle.manifest.model.graphs}
        self._backend = _open_backend(bundle, provider, threads)
        self.provider, self.precision = self._backend.provider, self._backend.precision

    def run(self, tensors: Mapping[str, Any], graphs: Iterable[str]) -> dict[str, Any]:
        """Runs graphs in order; each takes its inputs by name from what is there and adds its outputs.

        Args:
            tensors: arrays, or what an earlier run returned, by tensor name; with engines also other libraries' arrays
                on the GPU (DLPack, CUDA array interface), which are not copied.
            graphs: the graphs' names.

        Returns:
            The outputs of these graphs by tensor name, on the device that computed them; see `to_numpy`.

        Raises:
            InputError: an input of the wrong type or shape.
            UsageError: the process was forked since the session was loaded.
            DeviceError: memory ran out, or the GPU stopped answering.
            RsvlError: the graph failed for another reason.
        """
        if os.getpid() != self._process:
            raise UsageError(
                "this bundle was loaded before the process was forked, and a backend's threads and devices do not "
                "survive that: load it in the child process"
            )
        outputs: dict[str, Any] = {}
        for name in graphs:
            spec = self._graphs[name]
            feeds = {t.name: outputs.get(t.name, tensors.get(t.name)) for t in spec.inputs}
            names = [t.name for t in spec.outputs]
            if self.input_hook is not None:
                self.input_hook(name, feeds)
            start = time.perf_counter()
            try:
                results = self._backend.run_graph(name, names, feeds)
            except RsvlError as error:
                raise type(error)(f"graph {name} failed on {self.provider}: {error}") from error
            if self.timing_hook is not None:
                self.timing_hook(name, start, time.perf_counter())
            outputs.update(zip(names, results, strict=True))
        return outputs

    def as_input(self, array: Any) -> Any:
        """An array as `run` takes it, with `shape`, `ndim` and `dtype`: with engines it may lie on the GPU already.

        Raises:
            InputError: it is no array, or lies where this session cannot read it.
        """
        return self._backend.as_input(array)

    def runnable_graphs(self, raw: Iterable[str], without: Iterable[str] = ()) -> list[str]:
        """The graphs that can run from these raw inputs alone, in order, leaving out those in `without`."""
        known, names = set(raw), []
        for graph in self._graphs.values():
            if all(t.name in known for t in graph.inputs):
                known.update(t.name for t in graph.outputs)
                names.append(graph.name)
        return [name for name in names if name not in set(without)]


def to_numpy(tensor: Any) -> np.ndarray:
    """A tensor that `Session.run` returned, as an array in main memory.

    Raises:
        VerificationError: it has values that are not finite: whatever follows from them would look like an answer.
    """
    array = tensor if isinstance(tensor, np.ndarray) else tensor.numpy()
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise VerificationError(
            "the graphs gave values that are not finite: check the bundle with rsvl check, use another --provider or "
            "precision, or keep the part that overflows in float32 (keep_fp32)"
        )
    return array


def _open_backend(bundle: Bundle, provider: str | None, threads: int | None) -> Backend:
    """The backend that is asked for by name, or the first that starts; see `Session`."""
    name = None if provider is None else provider.lower()
    if name in OPENVINO_PROVIDERS:
        return OpenVinoSession(bundle, name, threads)
    if name in (None, ENGINES_PROVIDER):
        engines = open_engines(bundle, forced=name is not None)
        if engines is not None:
            return engines
    chosen = None if name is None else find_provider(name)
    if name is not None and chosen is None:
        known = ", ".join((ENGINES_PROVIDER, *OPENVINO_PROVIDERS, *(p.name for p in PROVIDERS)))
        raise UsageError(f"unknown provider {provider!r}: choose one of {known}")
    return open_onnxruntime(bundle, chosen, threads)
