"""A session's graphs, loaded and run by one of ONNX Runtime's execution providers."""

from __future__ import annotations

import ctypes
import os
import platform
import weakref
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from rsvl.runtime.backends.backend import first_line, host_array, run_error
from rsvl.runtime.backends.onnxruntime.optimizers import disabled_optimizers
from rsvl.runtime.backends.onnxruntime.providers import (
    Provider,
    onnxruntime,
    present_providers,
    share_memory,
    start,
    starts,
)
from rsvl.runtime.bundle import ENGINES, Bundle
from rsvl.runtime.errors import BundleError, MissingComponentError
from rsvl.runtime.manifest import GraphSpec
from rsvl.runtime.quantization import FP8

BACKEND = "onnxruntime"
"""By this name a graph has a variant for ONNX Runtime's CPU provider: `rsvl.runtime.manifest.GraphVariant`."""


class OnnxRuntimeSession:
    """The graphs of one bundle on one execution provider. Its runs may come from several threads.

    Attributes:
        provider: the execution provider's short name, such as ``cpu``.
        precision: the bundle's.
    """

    def __init__(
        self,
        bundle: Bundle,
        provider: Provider,
        threads: int | None = None,
        only: Collection[str] | None = None,
        profiles: Path | None = None,
    ) -> None:
        """Loads graphs.

        Args:
            bundle: whose graphs.
            provider: what runs them.
            threads: CPU threads per operation; None leaves it to ONNX Runtime, which takes the physical cores.
            only: the names of the graphs to load; None for all.
            profiles: a folder for ONNX Runtime's profiles, see `end_profiling`; None measures nothing.

        Raises:
            MissingComponentError: the provider is not installed, or its libraries or its device are not here.
            BundleError: a graph that cannot be loaded, or whose tensors are not those of the manifest.
        """
        present = present_providers()
        if provider not in present:
            raise _does_not_start(provider)
        self.provider, self.precision = provider.name, bundle.manifest.precision
        self._device = "cuda" if provider.on_cuda else "cpu"
        graphs = [graph for graph in bundle.manifest.model.graphs if only is None or graph.name in only]
        self._sessions = {graph.name: _load(bundle, graph, provider, threads, profiles) for graph in graphs}
        _LOADED.add(self)

    def run_graph(self, name: str, outputs: Iterable[str], feeds: Mapping[str, Any]) -> list[Any]:
        """Runs one graph with its tensors bound to the device: on a GPU, features stay there between graphs.

        Args:
            name: the graph's name.
            outputs: the names of the outputs to return.
            feeds: NumPy arrays or results of this session, by input name.

        Returns:
            ONNX Runtime's own tensors.

        Raises:
            DeviceError: memory ran out.
            RsvlError: ONNX Runtime failed otherwise, as on a shape that the graph does not take.
        """
        value = onnxruntime().OrtValue
        session = self._sessions[name]
        binding = session.io_binding()
        try:
            for key, tensor in feeds.items():
                on_host = isinstance(tensor, np.ndarray)
                bound = value.ortvalue_from_numpy(tensor, self._device, 0) if on_host else tensor
                binding.bind_ortvalue_input(key, bound)
            for key in outputs:
                binding.bind_output(key, self._device, 0)
            session.run_with_iobinding(binding)
        except Exception as error:
            raise run_error(first_line(error), "try another provider") from error
        return list(binding.get_outputs())

    def end_profiling(self) -> list[Path]:
        """Ends the profiles of all graphs and returns their files, JSON."""
        return [Path(session.end_profiling()) for session in self._sessions.values()]

    def abandon(self) -> None:
        """Never frees the graphs. In a forked child the threads that freeing them would wait for do not exist."""
        for session in self._sessions.values():
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))

    def as_input(self, array: Any) -> np.ndarray:
        """An array in main memory.

        Raises:
            InputError: it lies in a GPU's memory.
        """
        return host_array(array, self.provider)


_LOADED: weakref.WeakSet[OnnxRuntimeSession] = weakref.WeakSet()


def _abandon_all() -> None:
    for session in _LOADED:
        session.abandon()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_abandon_all)


def open_onnxruntime(bundle: Bundle, provider: Provider | None, threads: int | None = None) -> OnnxRuntimeSession:
    """A session on the provider that is asked for, else on the first that is present and starts.

    Raises:
        MissingComponentError: the provider that is asked for is not installed or does not start here.
        BundleError: a graph that cannot be loaded, or whose tensors are not those of the manifest.
    """
    if provider is not None:
        return OnnxRuntimeSession(bundle, provider, threads)
    *preferred, cpu = present_providers()
    for candidate in preferred:
        with suppress(MissingComponentError, BundleError):
            return OnnxRuntimeSession(bundle, candidate, threads)
    return OnnxRuntimeSession(bundle, cpu, threads)


def _load(bundle: Bundle, graph: GraphSpec, provider: Provider, threads: int | None, profiles: Path | None) -> Any:
    """An `onnxruntime.InferenceSession` of a graph."""
    options = _options(bundle, provider, threads)
    path = bundle.graph(graph, BACKEND if provider.name == "cpu" else "")
    if profiles is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(profiles / "graph")
    try:
        session = start(path, options, provider, present_providers(), bundle.root / ENGINES)
    except Exception as error:
        if not starts(provider):
            raise _does_not_start(provider) from error
        raise BundleError(
            f"{bundle.source}: ONNX Runtime cannot load {path.name} on {provider.name} ({first_line(error)}): export "
            "it again or upgrade onnxruntime"
        ) from error
    if session.get_providers()[0] != provider.full_name:
        raise _does_not_start(provider)  # built in, but its libraries or its device are not here
    _check_tensors(session, graph, bundle)
    return session


def _options(bundle: Bundle, provider: Provider, threads: int | None) -> Any:
    options = onnxruntime().SessionOptions()
    options.log_severity_level = 4
    if threads is not None:
        options.intra_op_num_threads = threads
    # Each graph has its own threads: let those of the last one sleep at once instead of spinning beside the next.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if provider.name == "cpu":
        share_memory(options)
    manifest = bundle.manifest
    only_weights = manifest.quantization is not None and not manifest.quantization.activations
    if only_weights or manifest.precision == FP8:
        # Weights become float once, when they are loaded, and not again in every run. And fp8 would be taken for
        # int8: its nodes would be fused with operations that do not know it.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    disabled = disabled_optimizers(manifest.precision, platform.machine())
    if disabled:
        options.add_session_config_entry("optimization.disable_specified_optimizers", ";".join(disabled))
    return options


def _check_tensors(session: Any, graph: GraphSpec, bundle: Bundle) -> None:
    inputs, outputs = ({t.name for t in side} for side in (session.get_inputs(), session.get_outputs()))
    if inputs != {t.name for t in graph.inputs} or not {t.name for t in graph.outputs} <= outputs:
        raise BundleError(
            f"{bundle.source}: {graph.file} takes {sorted(inputs)} and gives {sorted(outputs)}, the manifest says "
            "otherwise: export it again"
        )


def _does_not_start(provider: Provider) -> MissingComponentError:
    present = present_providers()
    names = ", ".join(each.name for each in present if starts(each))
    if provider in present:
        return MissingComponentError(
            f"the provider {provider.name} is installed but does not start here (those that do: {names}): its device, "
            "driver or libraries (CUDA, TensorRT) are missing, see rsvl doctor; or use --provider cpu"
        )
    return MissingComponentError(
        f"the provider {provider.name} does not start here (present: {names}): pip install {provider.package}"
    )
