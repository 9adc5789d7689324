"""Builds a bundle's engines: those that are missing, and those that a session finds out of date."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rsvl.runtime.backends.cuda.device import Gpu
from rsvl.runtime.backends.tensorrt.keys import ANY, Builder, EngineKey, file_stem, source_hash
from rsvl.runtime.backends.tensorrt.profiles import BATCH, Ranges, Shape, batch_range, checked_ranges, profile
from rsvl.runtime.backends.tensorrt.store import EngineStore, Found, StoredEngine
from rsvl.runtime.backends.tensorrt.targets import check_precision
from rsvl.runtime.backends.tensorrt.tensorrt_api import TensorRTApi
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.errors import UsageError
from rsvl.runtime.manifest import GraphSpec
from rsvl.runtime.progress import Progress, part, silent


@dataclass(frozen=True)
class BuildConfig:
    """How to build, apart from the graph.

    Attributes:
        api: the TensorRT to build with.
        gpu: this machine's; None builds portable engines.
        restricted_to: for TensorRT for RTX, ``any`` GPU or one architecture such as ``sm_86``.
        workspace: bytes of GPU memory for scratch; None for TensorRT's default.
        plugins: names of plugins that run the nodes of their name.
    """

    api: TensorRTApi
    gpu: Gpu | None = None
    restricted_to: str = ANY
    workspace: int | None = None
    plugins: tuple[str, ...] = ()

    @property
    def architecture(self) -> str:
        """The compute capability that it builds for, such as ``sm_86``; ``any`` for portable engines."""
        return self.gpu.sm if self.gpu is not None and self.api.needs_gpu else self.restricted_to

    @property
    def builder(self) -> Builder:
        """See `TensorRTApi.builder`."""
        return self.api.builder(self.gpu, self.restricted_to)


@dataclass(frozen=True)
class BuiltEngine:
    """What `build_engines` did for a graph.

    Attributes:
        engine: the file and what it was built from.
        reused: it was there already.
        why: why the one that was there did not serve; empty where there was none.
    """

    engine: StoredEngine
    reused: bool
    why: str = ""


def build_engines(
    bundle: Bundle,
    config: BuildConfig,
    ranges: Ranges | None = None,
    rebuild: bool = False,
    progress: Progress = silent,
) -> list[BuiltEngine]:
    """Builds an engine for each graph of a bundle into its `engines/`; those that are there and whole are kept.

    Args:
        bundle: a bundle's folder, opened.
        config: with what, and for which GPU.
        ranges: the sizes of each dynamic dimension by name; by default a batch of 1 to 8.
        rebuild: build also what is there.
        progress: called with the number of engines that are complete, of all.

    Raises:
        UsageError: a packed bundle; ranges that are not those of the graphs' dynamic dimensions.
        EngineError: a graph that TensorRT cannot parse or build; no GPU where it needs one; a GPU without the bundle's
            precision.
        OutputError: disk full, no permission.

    Examples:
        >>> from rsvl.runtime.backends.tensorrt import BuildConfig, batch_range, find_tensorrt
        >>> config = BuildConfig(find_tensorrt())
        >>> built = build_engines(Bundle("tiny.bundle"), config, {"batch": batch_range(max_batch=4)})
        >>> [engine.reused for engine in built]
        [False, False, False]
    """
    if bundle.packed:
        raise UsageError(
            f"{bundle.source} is packed and has no place for engines: unpack it first (python -m zipfile -e)"
        )
    check_precision(bundle.manifest.precision, config.architecture)
    graphs = bundle.manifest.model.graphs
    ranges = checked_ranges(graphs, ranges or {BATCH: batch_range()})
    builder, store = config.builder, EngineStore(bundle)
    built = []
    for number, graph in enumerate(graphs):
        report = part(progress, number, len(graphs))
        shapes = profile(graph, ranges)
        key = engine_key(bundle, graph, builder, shapes, config.plugins)
        engine = None if rebuild else store.find_exact(key)
        if engine is not None:
            built.append(BuiltEngine(engine, reused=True))
            continue
        report(0, 1, f"building {graph.name} with {builder.backend}")
        why = "" if rebuild else _why_again(store.find(graph, builder), config)
        built.append(BuiltEngine(_build(bundle, store, config, key, graph, report), reused=False, why=why))
        report(1, 1)
    return built


def serving_engine(bundle: Bundle, store: EngineStore, graph: GraphSpec, config: BuildConfig, gpu: Gpu) -> StoredEngine:
    """An engine of a graph that this machine can load: one that is there, else one that is built now.

    Building takes seconds to minutes, so a warning says in one line why it is needed. An engine that is out of date is
    built again for the same sizes.

    Raises:
        EngineError: the graph cannot be built here, or the GPU does not have the bundle's precision.
        UsageError: a dynamic dimension other than the batch, whose sizes are not known.
    """
    check_precision(bundle.manifest.precision, gpu.sm)
    why, nearest = "", None
    for builder in config.api.runs_here(gpu):
        found = store.find(graph, builder)
        if found.engine is not None:
            return found.engine
        if not why:
            why, nearest = found.why, found.nearest
    return rebuilt_engine(bundle, store, graph, config, why or "there is none yet", nearest)


def rebuilt_engine(
    bundle: Bundle, store: EngineStore, graph: GraphSpec, config: BuildConfig, why: str, earlier: StoredEngine | None
) -> StoredEngine:
    """Builds an engine for this machine with a warning that says why, like `earlier` in sizes and plugins.

    Raises:
        EngineError: the graph cannot be built here.
        UsageError: a dynamic dimension other than the batch, whose sizes are not known.
    """
    if earlier is not None:
        config = replace(config, plugins=earlier.key.plugins)
    shapes = _same_sizes(graph, earlier) or profile(graph, checked_ranges([graph], {BATCH: batch_range()}))
    key = engine_key(bundle, graph, config.builder, shapes, config.plugins)
    warnings.warn(f"building the engine of {graph.name}: {why}", stacklevel=2)
    return _build(bundle, store, config, key, graph)


def engine_key(
    bundle: Bundle,
    graph: GraphSpec,
    builder: Builder,
    shapes: Mapping[str, tuple[Shape, Shape, Shape]],
    plugins: tuple[str, ...] = (),
) -> EngineKey:
    """The key of a graph's engine."""
    precision, source = bundle.manifest.precision, source_hash(bundle, graph)
    return EngineKey(builder, graph.name, precision, source, dict(shapes), tuple(sorted(plugins)))


def _why_again(found: Found, config: BuildConfig) -> str:
    """Why what is there does not serve; a portable engine that was restricted to another GPU does not count."""
    if found.nearest is None or (not config.api.needs_gpu and found.nearest.key.builder.gpu != config.restricted_to):
        return ""
    return found.why


def _build(
    bundle: Bundle,
    store: EngineStore,
    config: BuildConfig,
    key: EngineKey,
    graph: GraphSpec,
    progress: Progress = silent,
) -> StoredEngine:
    store.make_folder()  # before the long work: it fails where nothing can be written
    timings = f"{key.builder.backend}-{key.builder.version}-{file_stem(key.builder.gpu)}.timing"
    started = time.perf_counter()
    network = config.api.build(
        bundle.graph(graph),
        key.profile,
        restricted_to=config.restricted_to,
        workspace=config.workspace,
        plugins=config.plugins,
        timing_cache=store.read_cache(timings),
        progress=progress,
    )
    if network.timing_cache:
        store.write_cache(timings, network.timing_cache)
    return store.write(key, network.engine, network.layers, time.perf_counter() - started)


def _same_sizes(graph: GraphSpec, earlier: StoredEngine | None) -> dict[str, tuple[Shape, Shape, Shape]] | None:
    """An earlier engine's profile, where it still fits the graph's declaration."""
    if earlier is None:
        return None
    dynamic = {t.name: t.shape for t in graph.inputs if any(isinstance(size, str) for size in t.shape)}
    sizes = earlier.key.profile
    same = set(sizes) == set(dynamic) and all(
        _may_be(dynamic[name], shape) for name, shapes in sizes.items() for shape in shapes
    )
    return dict(sizes) if same else None


def _may_be(declared: Sequence[int | str], shape: Shape) -> bool:
    return len(declared) == len(shape) and all(
        isinstance(d, str) or d == size for d, size in zip(declared, shape, strict=True)
    )
