"""A bundle's graphs, loaded on the best backend that is here and wired by their tensors' names."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from rsvl.runtime.backends.backend import Backend, in_main_memory
from rsvl.runtime.backends.onnxruntime.providers import PROVIDERS, find_provider
from rsvl.runtime.backends.onnxruntime.session import open_onnxruntime
from rsvl.runtime.backends.openvino import OPENVINO_PROVIDERS, OpenVinoSession
from rsvl.runtime.backends.per_graph import CPU_PROVIDERS, open_per_graph
from rsvl.runtime.backends.tensorrt.select import open_engines
from rsvl.runtime.backends.tensorrt.session import ENGINES_PROVIDER
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.errors import RsvlError, UsageError, VerificationError
from rsvl.runtime.tuning.choice import TUNED, Choice
from rsvl.runtime.tuning.store import find_choice

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
            provider: force ``engines``, ``openvino``, ``openvino-bf16``, ``tuned`` (what `rsvl tune` chose), or an
                ONNX Runtime provider by its short or full name; None, without `threads` either, takes what `rsvl tune`
                chose, where it did and that holds here; else engines where the bundle has some and they start, else
                the first of ONNX Runtime's providers that is present and starts.
            threads: CPU threads per operation; None leaves it to the backend, which takes the physical cores.

        Raises:
            UsageError: no such provider, a thread count below 1, or ``tuned`` and nothing was chosen here.
            MissingComponentError: the forced provider is not installed or does not start here.
            EngineError: engines are forced and cannot be built or loaded.
            DeviceError: engines are forced and the GPU failed.
            BundleError: a graph that cannot be loaded, or whose tensors are not those of the manifest.
        """
        if threads is not None and threads < 1:
            raise UsageError(f"threads must be 1 or more, not {threads}")
        self._use(bundle, _open(bundle, provider, threads))

    @classmethod
    def of(cls, bundle: Bundle, backend: Backend) -> Session:
        """A session of a bundle's graphs that are loaded already."""
        session = cls.__new__(cls)
        session._use(bundle, backend)
        return session

    def _use(self, bundle: Bundle, backend: Backend) -> None:
        self.timing_hook: TimingHook | None = None
        self.input_hook: InputHook | None = None
        self._process = os.getpid()
        self._graphs = {graph.name: graph for graph in bundle.manifest.model.graphs}
        self._backend = backend
        self.provider, self.precision = backend.provider, backend.precision

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
    array = in_main_memory(tensor)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise VerificationError(
            "the graphs gave values that are not finite: check the bundle with rsvl check, use another --provider or "
            "precision, or keep the part that overflows in float32 (keep_fp32)"
        )
    return array


def _open(bundle: Bundle, provider: str | None, threads: int | None) -> Backend:
    """What `rsvl tune` chose where nothing else is asked for, else `open_backend`; see `Session`."""
    forced = provider is not None and provider.lower() == TUNED
    if not forced and (provider is not None or threads is not None):
        return open_backend(bundle, provider, threads)
    choice = find_choice(bundle)
    if choice is None:
        if forced:
            raise UsageError(f"{bundle.source}: nothing was chosen for it on this machine: run rsvl tune")
        return open_backend(bundle, None, None)
    try:
        return open_choice(bundle, choice, threads)
    except RsvlError as error:
        if forced:
            raise
        warnings.warn(f"falling back from the choice of rsvl tune: {error}", stacklevel=2)
        return open_backend(bundle, None, None)


def open_choice(bundle: Bundle, choice: Choice, threads: int | None = None) -> Backend:
    """The backend of a choice; `threads` takes the place of the numbers that were chosen.

    Raises:
        RsvlError: as for `Session`.
    """
    if choice.keeps_default:
        return open_backend(bundle, None, threads)
    graphs = choice.graphs if threads is None else {n: replace(c, threads=threads) for n, c in choice.graphs.items()}
    providers = {each.provider for each in graphs.values()}
    if len(providers) == 1 and not providers.issubset(CPU_PROVIDERS):
        return open_backend(bundle, providers.pop(), threads)
    return open_per_graph(bundle, graphs)


def open_backend(bundle: Bundle, provider: str | None, threads: int | None) -> Backend:
    """The backend that is asked for by name, or the first that starts, whatever was tuned; see `Session`."""
    name = None if provider is None else provider.lower()
    if name in OPENVINO_PROVIDERS:
        return OpenVinoSession(bundle, name, threads)
    if name in (None, ENGINES_PROVIDER):
        engines = open_engines(bundle, forced=name is not None)
        if engines is not None:
            return engines
    chosen = None if name is None else find_provider(name)
    if name is not None and chosen is None:
        known = ", ".join(provider_names())
        raise UsageError(f"unknown provider {provider!r}: choose one of {known}")
    return open_onnxruntime(bundle, chosen, threads)


def provider_names() -> list[str]:
    """The names that force what runs a bundle, as `--provider` takes them."""
    return [ENGINES_PROVIDER, *OPENVINO_PROVIDERS, TUNED, *(provider.name for provider in PROVIDERS)]
