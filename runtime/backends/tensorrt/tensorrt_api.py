"""The one file that knows how TensorRT 10, TensorRT 11 and TensorRT for RTX differ; everyone else sees a `TensorRTApi`.

| | `tensorrt` 10, 11 | `tensorrt_rtx` |
|---|---|---|
| builds | on the GPU that will run the engine | anywhere, for every GPU of an architecture that it knows |
| strongly typed networks | a flag (10), the only kind (11) | the only kind |
| remembers between builds | timing cache | nothing |
| remembers between runs | nothing | runtime cache of kernels compiled for the GPU |
| CUDA graphs | captured by us | captured by itself |
| plugins | yes: from 10.7 on they take nodes from the nodes' own bodies, from 10.15 on where a flag says so | no |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from rsvl.runtime.backends.cuda.device import Gpu, Stream
from rsvl.runtime.backends.tensorrt.keys import ANY, Builder
from rsvl.runtime.backends.tensorrt.phases import Phases
from rsvl.runtime.backends.tensorrt.plugins import register_plugins
from rsvl.runtime.backends.tensorrt.profiles import Shape
from rsvl.runtime.backends.tensorrt.trt_errors import build_failure, load_failure, log_class, one_line, run_failure
from rsvl.runtime.errors import DeviceError, EngineError, MissingComponentError, UsageError
from rsvl.runtime.progress import Progress, silent

FULL, RTX = "tensorrt", "tensorrt_rtx"

#: The oldest major version whose interface this file knows.
_MIN_MAJOR = {FULL: 10, RTX: 1}

#: The first full TensorRT whose ONNX parser prefers a plugin to the body that a model carries for the node.
_PLUGINS_FIRST = (10, 7)


@dataclass(frozen=True)
class Network:
    """What was built: the engine, the layers of the network as parsed, and the timing cache where there is one."""

    engine: bytes
    layers: int
    timing_cache: bytes


@dataclass(frozen=True)
class EngineTensor:
    """An input or output of an engine: [shape] with -1 where it is dynamic."""

    name: str
    is_input: bool
    shape: Shape
    dtype: np.dtype


class TensorRTApi:
    """One installed TensorRT, whichever it is.

    Attributes:
        backend: its Python module's name, ``tensorrt`` or ``tensorrt_rtx``.
        version: of that module.
    """

    def __init__(self, module: ModuleType) -> None:
        """Takes an imported ``tensorrt`` or ``tensorrt_rtx``.

        Raises:
            MissingComponentError: it is too old.
        """
        self._trt = module
        self.backend, self.version = module.__name__, str(module.__version__)
        minimum = _MIN_MAJOR[self.backend]
        if self._release[0] < minimum:
            raise MissingComponentError(
                f"{self.backend} {self.version} is too old: version {minimum} or newer is needed"
            )

    @property
    def needs_gpu(self) -> bool:
        """Whether it builds only on the GPU that runs the engine."""
        return self.backend == FULL

    @property
    def captures_graphs(self) -> bool:
        """Whether it captures CUDA graphs by itself."""
        return self.backend == RTX

    def builder(self, gpu: Gpu | None, restricted_to: str = ANY) -> Builder:
        """The part of an engine's key that follows from this TensorRT and the machine.

        Args:
            gpu: this machine's; may be None for a portable engine.
            restricted_to: for TensorRT for RTX, ``any`` or a compute capability such as ``sm_86``.

        Raises:
            EngineError: it needs a GPU and there is none.
            UsageError: an architecture that it cannot build for here.
        """
        if not self.needs_gpu:
            if restricted_to != ANY:
                self._capability(restricted_to)
            return Builder(self.backend, self.version, restricted_to, ANY)
        if restricted_to != ANY:
            raise UsageError(f"{self.backend} builds for the GPU at hand only: leave out --target {restricted_to}")
        if gpu is None:
            raise EngineError(
                "TensorRT builds on the GPU that runs the engine and none is here: run this there, write a script with "
                "--target, or install tensorrt-rtx-cu13"
            )
        return Builder(self.backend, self.version, gpu.label, gpu.driver)

    def runs_here(self, gpu: Gpu) -> list[Builder]:
        """The builders whose engines this machine can load, the preferred first."""
        if self.needs_gpu:
            return [self.builder(gpu)]
        return [self.builder(gpu, target) for target in (gpu.sm, ANY) if target == ANY or self._knows(target)]

    def build(
        self,
        onnx: Path,
        profile: Mapping[str, tuple[Shape, Shape, Shape]],
        restricted_to: str = ANY,
        workspace: int | None = None,
        plugins: Sequence[str] = (),
        timing_cache: bytes = b"",
        progress: Progress = silent,
    ) -> Network:
        """Builds an engine of a strongly typed network: each tensor has the type that the ONNX file gives it.

        Args:
            onnx: the graph's file; external weights are found beside it.
            profile: min, opt and max shape of each dynamic input by name.
            restricted_to: see `builder`.
            workspace: bytes of GPU memory that the engine may use for scratch; None for TensorRT's default.
            plugins: names of plugins that run the nodes of their name; other nodes run their own bodies of standard
                operators.
            timing_cache: from an earlier build; TensorRT itself rejects one of another GPU or version.
            progress: called with the share of 1 that is done; an exception that it raises ends the build and is raised
                here.

        Raises:
            EngineError: the parser or the builder cannot take the graph; memory ran out.
            MissingComponentError: a plugin that is not installed, or that this TensorRT cannot run.
        """
        log = self._log()
        builder = self._create("a builder", self._trt.Builder, log)
        network = builder.create_network(self._network_flags())
        parser = self._trt.OnnxParser(network, log)
        if plugins:
            self.load_plugins(plugins)
            self._prefer_plugins(parser)
        if not parser.parse_from_file(str(onnx)):
            errors = [parser.get_error(i).desc() for i in range(parser.num_errors)]
            raise EngineError(f"{onnx.name}: {self.backend} cannot parse it ({one_line(errors)}): use --provider cuda")
        config = builder.create_builder_config()
        config.clear_flag(self._trt.BuilderFlag.TF32)  # float32 means float32
        if workspace is not None:
            config.set_memory_pool_limit(self._trt.MemoryPoolType.WORKSPACE, workspace)
        if restricted_to != ANY:
            config.num_compute_capabilities = 1
            config.set_compute_capability(self._capability(restricted_to), 0)
        self._add_profile(builder, config, profile)
        timings = self._timing_cache(config, timing_cache)
        phases = Phases(progress)
        config.progress_monitor = self._monitor(phases)
        engine = builder.build_serialized_network(network, config)
        if phases.error is not None:
            raise phases.error
        if engine is None:
            raise build_failure(onnx.name, log.errors)
        return Network(bytes(engine), network.num_layers, b"" if timings is None else bytes(timings.serialize()))

    def load(self, engine: bytes) -> Engine:
        """Loads an engine; may be shared by any number of sessions.

        Raises:
            EngineError: it is of another version or GPU, damaged, or there is no memory for it.
        """
        log = self._log()
        runtime = self._create("a runtime", self._trt.Runtime, log)
        self._check_validity(runtime, engine)
        loaded = runtime.deserialize_cuda_engine(engine)
        if loaded is None:
            raise load_failure(f"{self.backend} {self.version}", log.errors)
        return Engine(self._trt, runtime, loaded, log, self.captures_graphs)

    def load_plugins(self, names: Sequence[str]) -> None:
        """Registers the plugins that an engine calls, those that are not registered already.

        Raises:
            MissingComponentError: this TensorRT runs no plugins, no installed package has one of that name, or what it
                needs is not installed.
        """
        if not names:
            return
        if not self.needs_gpu:
            raise MissingComponentError(f"{self.backend} runs no plugins: leave out --plugin, or install tensorrt")
        if self._release < _PLUGINS_FIRST:
            raise MissingComponentError(
                f"{self.backend} {self.version} runs the operations' own bodies even where a plugin is registered: "
                "install TensorRT 10.7 or newer, or leave out --plugin"
            )
        known = {creator.name for creator in self._trt.get_plugin_registry().all_creators}
        register_plugins(sorted(set(names) - known))

    @property
    def _release(self) -> tuple[int, ...]:
        """Major and minor version."""
        return tuple(map(int, self.version.split(".")[:2]))

    def _prefer_plugins(self, parser: Any) -> None:
        """Lets registered plugins take the nodes that a model also carries bodies for.

        The parser prefers plugins from 10.7 to 10.14; since 10.15 it prefers the bodies again, unless its flag is set
        (onnx-tensorrt's changelog; the flags of the bindings).
        """
        flag = getattr(self._trt.OnnxParserFlag, "ENABLE_PLUGIN_OVERRIDE", None)
        if flag is not None:
            parser.set_flag(flag)

    def _knows(self, target: str) -> bool:
        return hasattr(self._trt, "ComputeCapability") and target.replace("sm_", "SM") in self._capabilities()

    def _capability(self, target: str) -> Any:
        if not self._knows(target):
            names = ", ".join(name.replace("SM", "sm_") for name in self._capabilities())
            raise UsageError(f"{self.backend} {self.version} does not know {target}: choose any, {names}")
        return self._capabilities()[target.replace("sm_", "SM")]

    def _capabilities(self) -> dict[str, Any]:
        members = self._trt.ComputeCapability.__members__
        return {name: value for name, value in members.items() if name.startswith("SM")}

    def _create(self, what: str, kind: Any, log: Any) -> Any:
        """A builder or runtime; the bindings raise TypeError where TensorRT creates none."""
        try:
            return kind(log)
        except TypeError as error:
            reason = one_line(log.errors) or "is there an NVIDIA GPU and driver?"
            raise EngineError(f"{self.backend} could not create {what} ({reason}): see rsvl doctor") from error

    def _network_flags(self) -> int:
        flag = getattr(self._trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
        return 0 if flag is None or not self.needs_gpu else 1 << int(flag)

    def _add_profile(self, builder: Any, config: Any, profile: Mapping[str, tuple[Shape, Shape, Shape]]) -> None:
        if not profile:
            return
        shapes = builder.create_optimization_profile()
        for name, (smallest, optimum, largest) in profile.items():
            shapes.set_shape(name, smallest, optimum, largest)
        if config.add_optimization_profile(shapes) < 0:
            raise EngineError(f"{self.backend} refuses the sizes {dict(profile)}: choose another --max-batch")

    def _timing_cache(self, config: Any, earlier: bytes) -> Any:
        if not self.needs_gpu:
            return None
        cache = config.create_timing_cache(earlier)
        config.set_timing_cache(cache, ignore_mismatch=False)
        return cache

    def _check_validity(self, runtime: Any, engine: bytes) -> None:
        if not hasattr(runtime, "get_engine_validity"):
            return
        validity, diagnostics = runtime.get_engine_validity(engine)
        if validity != self._trt.EngineValidity.INVALID:
            return
        members = self._trt.EngineInvalidityDiagnostics.__members__
        words = [name.lower().replace("_", " ") for name, bit in members.items() if int(diagnostics) & int(bit)]
        raise EngineError(
            f"{self.backend} {self.version} refuses the engine ({', '.join(words) or 'it cannot say why'})"
        )

    def _log(self) -> Any:
        return log_class(self._trt)()

    def _monitor(self, phases: Phases) -> Any:
        return _monitor_class(self._trt)(phases)


class Engine:
    """A loaded engine. Sessions share it; each makes its own contexts."""

    def __init__(self, module: ModuleType, runtime: Any, engine: Any, log: Any, captures_graphs: bool) -> None:
        self._trt, self._runtime, self._engine, self._log = module, runtime, engine, log
        self._captures_graphs = captures_graphs

    @property
    def tensors(self) -> list[EngineTensor]:
        """Its inputs and outputs."""
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        return [
            EngineTensor(
                name,
                self._engine.get_tensor_mode(name) == self._trt.TensorIOMode.INPUT,
                tuple(self._engine.get_tensor_shape(name)),
                np.dtype(self._trt.nptype(self._engine.get_tensor_dtype(name))),
            )
            for name in names
        ]

    def max_shape(self, name: str) -> Shape:
        """The maximum shape of an input."""
        return tuple(self._engine.get_tensor_profile_shape(name, 0)[2])

    def context(self, runtime_cache: bytes = b"") -> Context:
        """An execution context: what one session needs to run it, its scratch memory.

        Args:
            runtime_cache: of an earlier session; TensorRT itself rejects one of another GPU, driver or version.

        Raises:
            DeviceError: no memory is left.
        """
        self._log.errors.clear()
        config = cache = None
        if self._captures_graphs:
            config = self._engine.create_runtime_config()
            config.cuda_graph_strategy = self._trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
            cache = config.create_runtime_cache()
            if runtime_cache:
                cache.deserialize(runtime_cache)
            config.set_runtime_cache(cache)
            context = self._engine.create_execution_context(config)
        else:
            context = self._engine.create_execution_context()
        if context is None:
            raise DeviceError(
                f"the engine cannot be prepared ({one_line(self._log.errors) or 'no reason given'}): if memory is "
                "short, build it with a smaller --max-batch"
            )
        return Context(context, (config, cache), self._log)


class Context:
    """One session's use of an engine; not for two threads at once."""

    def __init__(self, context: Any, settings: tuple[Any, Any], log: Any) -> None:
        self._context, self._log = context, log
        self._config, self._cache = settings  # TensorRT may go on using both

    def set_input(self, name: str, shape: Shape, address: int) -> None:
        """Sets an input's address and shape.

        Raises:
            EngineError: the engine was not built for this shape.
        """
        if not self._context.set_input_shape(name, shape):
            raise EngineError(f"the engine was not built for {name} {list(shape)}: build it with a larger --max-batch")
        self._context.set_tensor_address(name, address)

    def output_shape(self, name: str) -> Shape:
        """An output's shape, once all inputs' are set."""
        return tuple(self._context.get_tensor_shape(name))

    def set_output(self, name: str, address: int) -> None:
        """Sets the address that an output is written to."""
        self._context.set_tensor_address(name, address)

    def execute(self, stream: Stream) -> None:
        """Enqueues one run on the stream.

        Raises:
            DeviceError: memory ran out, or the GPU failed.
            EngineError: TensorRT refuses for another reason.
        """
        self._log.errors.clear()
        if not self._context.execute_async_v3(stream):
            raise run_failure(self._log.errors)

    def runtime_cache(self) -> bytes:
        """What to keep for the next session; empty where TensorRT keeps nothing."""
        return b"" if self._cache is None else bytes(self._cache.serialize())


@cache
def _monitor_class(trt: ModuleType) -> type:
    """TensorRT's progress monitor, passing everything on to `Phases`."""
    base: Any = trt.IProgressMonitor

    class Monitor(base):
        def __init__(self, phases: Phases) -> None:
            base.__init__(self)
            self._phases = phases

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            self._phases.phase_start(name, parent, steps)

        def step_complete(self, name: str, step: int) -> bool:
            return self._phases.step_complete(name, step)

        def phase_finish(self, name: str) -> None:
            self._phases.phase_finish(name)

    return Monitor
