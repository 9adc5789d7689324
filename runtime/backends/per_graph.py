"""A bundle whose graphs run on different backends, or on different numbers of threads, all on the CPU."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np

from rsvl.runtime.backends.backend import Backend, host_array, in_main_memory
from rsvl.runtime.backends.onnxruntime.providers import find_provider
from rsvl.runtime.backends.onnxruntime.session import OnnxRuntimeSession
from rsvl.runtime.backends.openvino import OPENVINO_PROVIDERS, OpenVinoSession
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.errors import UsageError
from rsvl.runtime.tuning.choice import TUNED, GraphChoice

CPU_PROVIDERS = ("cpu", *OPENVINO_PROVIDERS)
"""The providers that a single graph of a bundle can run on."""
ON_CPU = (*CPU_PROVIDERS, TUNED)
"""All providers that compute on the CPU."""


class PerGraphSession:
    """The graphs of one bundle, each on its own backend. Its runs may come from several threads.

    Attributes:
        provider: ``tuned``.
        precision: ``bf16`` where any graph is computed in it, else the bundle's.
    """

    provider = TUNED

    def __init__(self, backends: Mapping[str, Backend]) -> None:
        """Puts loaded backends together.

        Args:
            backends: what runs each graph, by the graph's name.
        """
        self._backends = dict(backends)
        precisions = [backend.precision for backend in self._backends.values()]
        self.precision = "bf16" if "bf16" in precisions else precisions[0]

    def run_graph(self, name: str, outputs: Iterable[str], feeds: Mapping[str, Any]) -> list[Any]:
        """Runs one graph on its backend; see `rsvl.runtime.backends.backend.Backend.run_graph`."""
        given = {key: in_main_memory(tensor) for key, tensor in feeds.items()}
        return self._backends[name].run_graph(name, outputs, given)

    def as_input(self, array: Any) -> np.ndarray:
        """An array in main memory.

        Raises:
            InputError: it lies in a GPU's memory.
        """
        return host_array(array, self.provider)


def open_graphs(bundle: Bundle, choice: GraphChoice, only: Collection[str]) -> Backend:
    """Some of a bundle's graphs on one backend.

    Args:
        bundle: whose graphs.
        choice: a provider of `CPU_PROVIDERS`, and its threads.
        only: the graphs' names.

    Raises:
        UsageError: another provider.
        MissingComponentError: the provider is not installed or does not start here.
        BundleError: a graph that cannot be loaded.
    """
    if choice.provider in OPENVINO_PROVIDERS:
        return OpenVinoSession(bundle, choice.provider, choice.threads, only)
    cpu = find_provider(choice.provider)
    if cpu is None or cpu.name not in CPU_PROVIDERS:
        raise UsageError(f"{choice.provider} runs whole bundles only: choose one of {', '.join(CPU_PROVIDERS)}")
    return OnnxRuntimeSession(bundle, cpu, choice.threads, only)


def open_per_graph(bundle: Bundle, graphs: Mapping[str, GraphChoice]) -> PerGraphSession:
    """A bundle's graphs, those with the same choice in one session.

    Raises:
        UsageError, MissingComponentError, BundleError: as for `open_graphs`.
    """
    backends: dict[str, Backend] = {}
    for choice in dict.fromkeys(graphs.values()):
        alike = [name for name, each in graphs.items() if each == choice]
        backends |= dict.fromkeys(alike, open_graphs(bundle, choice, alike))
    return PerGraphSession(backends)
