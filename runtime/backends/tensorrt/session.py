"""A session's graphs, run by their engines: tensors on the GPU, one stream, CUDA graphs for shapes that repeat."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from rsvl.runtime.backends.cuda.device import Device
from rsvl.runtime.backends.cuda.memory import DeviceTensor, Workspace, on_device
from rsvl.runtime.backends.tensorrt.build import BuildConfig, rebuilt_engine, serving_engine
from rsvl.runtime.backends.tensorrt.keys import file_stem
from rsvl.runtime.backends.tensorrt.store import EngineStore, StoredEngine
from rsvl.runtime.backends.tensorrt.tensorrt_api import Context, Engine, TensorRTApi
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.errors import BundleError, DeviceError, EngineError, InputError, RsvlError
from rsvl.runtime.manifest import GraphSpec, TensorSpec

ENGINES_PROVIDER = "engines"
"""The name by which `--provider` forces engines."""

_MAX_CAPTURES = 2
"""CUDA graphs kept per engine. Each has a context of its own, and so scratch memory."""

_loaded: weakref.WeakValueDictionary[tuple[str, str, Path], Engine] = weakref.WeakValueDictionary()
_loading = threading.Lock()


class TensorRTSession:
    """The engines of one bundle on one GPU, with a stream and memory of its own. Runs of several threads take turns.

    Sessions of the same bundle share the loaded engines; each has its own contexts.

    Attributes:
        provider: ``engines``.
        precision: the bundle's.
    """

    def __init__(self, bundle: Bundle, api: TensorRTApi, device: Device) -> None:
        """Loads all engines, building those that are missing or out of date.

        Raises:
            EngineError: an engine that cannot be built or loaded here.
            DeviceError: no memory is left.
            BundleError: an engine whose tensors are not those of the manifest.
        """
        self.provider, self.precision = ENGINES_PROVIDER, bundle.manifest.precision
        self._workspace = Workspace(device)
        self._store = EngineStore(bundle)
        self._machine = f"{api.backend}-{api.version}-{file_stem(device.gpu.label)}"
        self._graphs: dict[str, _EngineGraph] = {}
        for graph in bundle.manifest.model.graphs:
            engine = _load(bundle, self._store, graph, BuildConfig(api, device.gpu), device)
            _check_tensors(engine, graph, bundle)
            kernels = self._store.read_cache(self._kernels_of(graph.name))
            self._graphs[graph.name] = _EngineGraph(graph, engine, self._workspace, kernels, api.captures_graphs)
        weakref.finalize(self, self._workspace.close).atexit = False

    def run_graph(self, name: str, outputs: Iterable[str], feeds: Mapping[str, Any]) -> list[DeviceTensor]:
        """Runs one graph.

        Args:
            name: the graph's name.
            outputs: the names of the outputs to return.
            feeds: NumPy arrays, results of this session, or other libraries' arrays on this GPU, by name.

        Returns:
            Tensors on the GPU, ready to be read by any stream.

        Raises:
            DeviceError: the GPU failed.
            EngineError: the engine cannot take these shapes.
            InputError: a feed that is no array, of another type, or on another GPU.
        """
        with self._workspace.lock:
            tensors = {key: on_device(self._workspace, feed) for key, feed in feeds.items()}
            results = self._graphs[name].run(tensors)
            self._workspace.synchronize()
            self._keep_kernels(name)
        return [results[key] for key in outputs]

    def as_input(self, array: Any) -> DeviceTensor:
        """An array on the GPU, copied only where it is not there.

        Raises:
            InputError: no array, or one on another GPU.
            DeviceError: no memory is left.
        """
        with self._workspace.lock:
            return on_device(self._workspace, array)

    def _keep_kernels(self, name: str) -> None:
        """Keeps the kernels that TensorRT compiled here beside the engines, so that the next session starts at once."""
        kernels = self._graphs[name].new_kernels()
        if kernels:
            with suppress(RsvlError):  # a bundle that cannot be written runs as well
                self._store.write_cache(self._kernels_of(name), kernels)

    def _kernels_of(self, name: str) -> str:
        return f"{file_stem(name)}-{self._machine}.kernels"


class _Capture:
    """A CUDA graph, and the context whose scratch memory it uses; the graph is destroyed with this object."""

    def __init__(self, context: Context, device: Device, graph: Any) -> None:
        self.context, self.graph = context, graph
        weakref.finalize(self, _forget, device, graph).atexit = False


class _EngineGraph:
    """One graph, run by its engine."""

    def __init__(
        self, spec: GraphSpec, engine: Engine, workspace: Workspace, kernels: bytes, captures_itself: bool
    ) -> None:
        self._spec, self._engine, self._workspace = spec, engine, workspace
        self._context = engine.context(kernels)
        self._captures_here = not captures_itself
        self._captures: OrderedDict[tuple, _Capture] = OrderedDict()
        self._seen: OrderedDict[tuple, None] = OrderedDict()
        self._kernels: bytes | None = kernels

    def run(self, inputs: Mapping[str, DeviceTensor]) -> dict[str, DeviceTensor]:
        """Enqueues a run; a batch larger than the engine's goes through it in parts.

        Raises:
            InputError: an input of another type, whose bytes the engine would misread.
        """
        for spec in self._spec.inputs:
            found = inputs[spec.name].dtype
            if found != spec.dtype:
                raise InputError(f"{spec.name} is {found}: the engine takes {spec.dtype}")
        max_batch = self._max_batch(inputs)
        batch = len(next(iter(inputs.values()))) if inputs else 0
        if max_batch is None or batch <= max_batch:
            return self._run(inputs)
        whole: dict[str, DeviceTensor] = {}
        for first in range(0, batch, max_batch):
            last = min(first + max_batch, batch)
            part = self._run({name: tensor.rows(first, last) for name, tensor in inputs.items()})
            for name, tensor in part.items():
                if name not in whole:
                    whole[name] = DeviceTensor(self._workspace, (batch, *tensor.shape[1:]), tensor.dtype)
                whole[name].fill_rows(first, tensor)
        return whole

    def new_kernels(self) -> bytes:
        """The kernels that TensorRT compiled during the first run; empty where none are new, and in later calls."""
        before, self._kernels = self._kernels, None
        kernels = b"" if before is None else self._context.runtime_cache()
        return kernels if kernels != before else b""

    def _max_batch(self, inputs: Mapping[str, DeviceTensor]) -> int | None:
        """The engine's maximum batch, where the first dimension of all tensors is one and the same dynamic one."""
        tensors = (*self._spec.inputs, *self._spec.outputs)
        names = {tensor.shape[0] if tensor.shape else 0 for tensor in tensors}
        if len(names) != 1 or not isinstance(next(iter(names)), str):
            return None
        return min(self._engine.max_shape(name)[0] for name in inputs)

    def _run(self, inputs: Mapping[str, DeviceTensor]) -> dict[str, DeviceTensor]:
        outputs = self._bind(self._context, inputs)
        everything = {**inputs, **outputs}
        key = tuple((name, tensor.shape, tensor.address) for name, tensor in everything.items())
        capture = self._captures.get(key)
        device, stream = self._workspace.device, self._workspace.stream
        if capture is not None:
            self._captures.move_to_end(key)
            device.launch(capture.graph, stream)
            return outputs
        self._context.execute(stream)
        if self._captures_here and key in self._seen:
            self._capture(key, inputs, outputs)
        self._seen[key] = None
        while len(self._seen) > 4 * _MAX_CAPTURES:
            self._seen.popitem(last=False)
        return outputs

    def _bind(
        self, context: Context, inputs: Mapping[str, DeviceTensor], outputs: Mapping[str, DeviceTensor] | None = None
    ) -> dict[str, DeviceTensor]:
        """Sets the addresses of a context's tensors, allocating those outputs that are not given."""
        for name, tensor in inputs.items():
            context.set_input(name, tensor.shape, tensor.address)
        bound = dict(outputs or {})
        for spec in self._spec.outputs:
            if spec.name not in bound:
                shape = context.output_shape(spec.name)
                if min(shape, default=1) < 0:
                    raise EngineError(f"the size of {spec.name} depends on its values: use --provider cuda")
                bound[spec.name] = DeviceTensor(self._workspace, shape, np.dtype(spec.dtype))
            context.set_output(spec.name, bound[spec.name].address)
        return bound

    def _capture(self, key: tuple, inputs: Mapping[str, DeviceTensor], outputs: Mapping[str, DeviceTensor]) -> None:
        """Captures a run whose shapes and addresses have come a second time.

        The CUDA graph holds addresses of its context's scratch memory, so the context is its own and serves nothing
        else. It must run once before it can be captured. What cannot be captured runs without.
        """
        device, stream = self._workspace.device, self._workspace.stream
        while len(self._captures) >= _MAX_CAPTURES:
            device.synchronize(stream)  # it may still run
            self._captures.popitem(last=False)
        try:
            context = self._engine.context()
            self._bind(context, inputs, outputs)
            context.execute(stream)
            graph = device.capture(lambda: context.execute(stream), stream)
        except (DeviceError, EngineError):
            self._captures_here = False
            device.synchronize(stream)  # a GPU that has gone is reported, one that cannot capture is not
            return
        self._captures[key] = _Capture(context, device, graph)


def _load(bundle: Bundle, store: EngineStore, graph: GraphSpec, config: BuildConfig, device: Device) -> Engine:
    """A graph's engine, shared with every other session that has loaded it."""
    with _loading:
        stored = serving_engine(bundle, store, graph, config, device.gpu)
        try:
            return _shared(stored, config.api)
        except EngineError as refused:
            stored.discard()
            stored = rebuilt_engine(bundle, store, graph, config, str(refused), stored)
        try:
            return _shared(stored, config.api)
        except EngineError as error:
            stored.discard()  # or each start would build it anew, in vain
            raise EngineError(f"graph {graph.name}: {error}: use --provider cuda") from error


def _shared(stored: StoredEngine, api: TensorRTApi) -> Engine:
    key = (api.backend, stored.sha256, stored.path)
    engine = _loaded.get(key)
    if engine is None:
        api.load_plugins(stored.key.plugins)
        engine = _loaded[key] = api.load(stored.read())
    return engine


def _forget(device: Device, graph: Any) -> None:
    with suppress(DeviceError):
        device.destroy_graph(graph)


def _check_tensors(engine: Engine, graph: GraphSpec, bundle: Bundle) -> None:
    """An engine's tensors are those of the manifest by name, type and every size that is not dynamic."""
    declared = {t.name: (True, t) for t in graph.inputs} | {t.name: (False, t) for t in graph.outputs}
    found = {tensor.name: tensor for tensor in engine.tensors}
    for name, (is_input, spec) in declared.items():
        tensor = found.pop(name, None)
        same = tensor is not None and tensor.is_input == is_input and tensor.dtype == spec.dtype
        if not same or not _fits(spec, tensor.shape if tensor is not None else ()):
            raise BundleError(
                f"{bundle.source}: the engine of {graph.name} has no {name} as the manifest declares it: delete "
                f"engines/ and build it again"
            )
    if found:
        raise BundleError(
            f"{bundle.source}: the engine of {graph.name} has {', '.join(sorted(found))} too: delete engines/"
        )


def _fits(spec: TensorSpec, shape: tuple[int, ...]) -> bool:
    pairs = list(zip(spec.shape, shape, strict=False))
    return len(spec.shape) == len(shape) and all(isinstance(d, str) or size in (d, -1) for d, size in pairs)
