"""A session's graphs, compiled and run by OpenVINO."""

from __future__ import annotations

import re
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from rsvl.runtime.backends.backend import host_array, run_error
from rsvl.runtime.backends.openvino.bfloat16 import divide
from rsvl.runtime.backends.openvino.reading import read_model
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.errors import BundleError, InputError, MissingComponentError
from rsvl.runtime.extras import remedy
from rsvl.runtime.manifest import GraphSpec

OPENVINO_PROVIDERS = {"openvino": "f32", "openvino-bf16": "bf16"}
"""The names by which `--provider` forces it, and the type in which each computes what is not int8 already."""

BACKEND = "openvino"
"""By this name a graph has a variant for OpenVINO: `rsvl.runtime.manifest.GraphVariant`."""

_TYPE = "INFERENCE_PRECISION_HINT"


class OpenVinoSession:
    """The graphs of one bundle, compiled by OpenVINO. Runs of several threads take turns.

    OpenVINO is fastest where it knows every size. Graphs whose tensors all begin with one and the same dynamic batch
    are therefore compiled for a batch of one, and a larger batch goes through sample by sample; others keep their
    dynamic sizes.

    Attributes:
        provider: ``openvino`` or ``openvino-bf16``.
        precision: ``bf16`` where a float bundle is computed in bfloat16, else the bundle's.
    """

    def __init__(
        self, bundle: Bundle, provider: str, threads: int | None = None, only: Collection[str] | None = None
    ) -> None:
        """Compiles graphs.

        Args:
            bundle: whose graphs.
            provider: a key of `OPENVINO_PROVIDERS`: ``openvino`` computes what ONNX Runtime does;
                `rsvl.runtime.backends.openvino.bfloat16` says what stays float32 in ``openvino-bf16``.
            threads: CPU threads; None leaves it to OpenVINO, which takes the physical cores.
            only: the names of the graphs to compile; None for all.

        Raises:
            MissingComponentError: OpenVINO is not installed, or the CPU has no bfloat16.
            BundleError: a graph that OpenVINO cannot take, or whose tensors are not those of the manifest.
        """
        core = _core()
        type_ = OPENVINO_PROVIDERS[provider]
        if type_ == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise MissingComponentError("this CPU has no bfloat16 instructions: use --provider openvino")
        self.provider, self.precision = provider, bundle.manifest.precision
        if type_ == "bf16" and self.precision in ("fp32", "fp16"):
            self.precision = "bf16"
        settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", _TYPE: type_}
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        self._lock = threading.Lock()
        graphs = [graph for graph in bundle.manifest.model.graphs if only is None or graph.name in only]
        self._graphs = {graph.name: _Graph(core, bundle, graph, settings) for graph in graphs}

    def run_graph(self, name: str, outputs: Iterable[str], feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Runs one graph.

        Args:
            name: the graph's name.
            outputs: the names of the outputs to return.
            feeds: arrays by input name.

        Raises:
            InputError: a feed of another type than the graph takes.
            DeviceError: memory ran out.
            RsvlError: OpenVINO failed otherwise, as on a shape that the graph does not take.
        """
        with self._lock:
            results = self._graphs[name].run(feeds)
        return [results[key] for key in outputs]

    def as_input(self, array: Any) -> np.ndarray:
        """An array in main memory.

        Raises:
            InputError: it lies in a GPU's memory.
        """
        return host_array(array, self.provider)


class _Graph:
    """One graph, compiled; in several parts where some of it stays float32."""

    def __init__(self, core: Any, bundle: Bundle, spec: GraphSpec, settings: dict[str, Any]) -> None:
        self._spec = spec
        self._one_by_one = _has_one_batch(spec)
        path = bundle.graph(spec, BACKEND)
        try:
            model, weights = read_model(core, path)
            _check_tensors(model, spec, bundle)
            if self._one_by_one:
                model.reshape({tensor.name: [1, *tensor.shape[1:]] for tensor in spec.inputs})
            self._parts = [_Part(core, part, wanted) for part, wanted in _parts(model, bundle, settings)]
            weights.release()  # OpenVINO has its own copy of most, packed
        except BundleError:
            raise
        except Exception as error:
            raise BundleError(
                f"{bundle.source}: OpenVINO cannot take {path.name} ({_reason(error)}): use --provider cpu"
            ) from error

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        batch = len(next(iter(feeds.values()))) if feeds else 0
        for tensor in self._spec.inputs:
            found = feeds[tensor.name]
            dtype = getattr(found, "dtype", type(found).__name__)
            if dtype != tensor.dtype:  # OpenVINO would convert it silently
                raise InputError(f"{tensor.name} is {dtype}: the graph takes {tensor.dtype}")
            if self._one_by_one and len(found) != batch:
                raise InputError(f"{tensor.name} has {len(found)} samples and not {batch}: give as many of each")
        if not self._one_by_one or batch == 1:
            return self._run(feeds)
        parts = [self._run({name: array[i : i + 1] for name, array in feeds.items()}) for i in range(batch)]
        return {tensor.name: np.concatenate([part[tensor.name] for part in parts]) for tensor in self._spec.outputs}

    def _run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        tensors = dict(feeds)
        try:
            for part in self._parts:
                tensors |= part.run(tensors)
        except Exception as error:
            raise run_error(_reason(error), "try --provider cpu") from error
        return {tensor.name: np.array(tensors[tensor.name]) for tensor in self._spec.outputs}


def _parts(model: Any, bundle: Bundle, settings: dict[str, Any]) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The models to run one after the other, and the settings of each."""
    if settings[_TYPE] == "f32":
        yield model, settings
        return
    for part, exact in divide(model, bundle.manifest.model.final_outputs.keys()):
        yield part, {**settings, _TYPE: "f32"} if exact else settings


class _Part:
    """A model, compiled. Tensors are known by every name that they have."""

    def __init__(self, core: Any, model: Any, settings: dict[str, Any]) -> None:
        self._inputs, self._outputs = _names(model.inputs), _names(model.outputs)
        self._request = core.compile_model(model, "CPU", settings).create_infer_request()

    def run(self, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        feeds = {name: tensors[name] for name in tensors.keys() & self._inputs}
        found = self._request.infer(feeds, share_inputs=True, share_outputs=True)
        return {name: found[name] for name in self._outputs}  # in place: valid until the next run


def _core() -> Any:
    try:
        from openvino import Core
    except ImportError as error:
        raise MissingComponentError(f"OpenVINO is not installed: {remedy('openvino')}") from error
    return Core()


def _has_one_batch(spec: GraphSpec) -> bool:
    """Whether all tensors begin with one and the same dynamic dimension, and nothing else is dynamic."""
    shapes = [tensor.shape for tensor in (*spec.inputs, *spec.outputs)]
    first = {shape[0] if shape else 0 for shape in shapes}
    rest = [size for shape in shapes for size in shape[1:]]
    return len(first) == 1 and isinstance(first.pop(), str) and not any(isinstance(size, str) for size in rest)


def _check_tensors(model: Any, spec: GraphSpec, bundle: Bundle) -> None:
    inputs, outputs = _names(model.inputs), _names(model.outputs)
    if len(model.inputs) != len(spec.inputs) or not {t.name for t in spec.inputs} <= inputs:
        raise _other_tensors(bundle, spec, "takes", inputs)
    if not {t.name for t in spec.outputs} <= outputs:
        raise _other_tensors(bundle, spec, "gives", outputs)


def _names(ports: Iterable[Any]) -> set[str]:
    return {name for port in ports for name in port.get_names()}


def _other_tensors(bundle: Bundle, spec: GraphSpec, does: str, names: set[str]) -> BundleError:
    return BundleError(
        f"{bundle.source}: {spec.file} {does} {sorted(names)}, the manifest says otherwise: export it again"
    )


def _reason(error: Exception) -> str:
    """The first line that names the cause: OpenVINO puts the place in its own sources before it."""
    lines = [line.strip() for line in str(error).splitlines()]
    causes = [line for line in lines if line and not re.match(r"Exception from|Check '|FrontEnd API failed", line)]
    return (causes or lines or [type(error).__name__])[0][:200]
