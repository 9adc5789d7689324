"""Builds a bundle's engines where they are missing, and those that a session finds out of date."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from rsvl.runtime.backends.cuda.device import Gpu
from rsvl.runtime.backends.tensorrt.keys import ANY, Builder, EngineKey, file_stem, source_hash
from rsvl.runtime.backends.tensorrt.profiles import BATCH, Ranges, Shape, batch_range, checked_ranges, profile
from rsvl.runtime.backends.tensorrt.store import EngineStore, Found, StoredEngine
from rsvl.runtime.backends.tensorrt.targets import check_precision
from rsvl.runtime.backends.tensorrt.tensorrt_api import Library
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.errors import UsageError
from rsvl.runtime.manifest import GraphSpec

Progress = Callable[[float, str], None]
"""Told the share of all engines that is done, 0…1, and what is being done."""


@dataclass(frozen=True)
class Recipe:
    """How to build, apart from the graph.

    Attributes:
        library: the TensorRT to build with.
        gpu: this machine's; None builds engines that travel.
        restricted_to: for TensorRT for RTX, ``any`` GPU or one architecture such as ``sm_86``.
        workspace: bytes of GPU memory for scratch; None leaves it to the library.
        plugins: names of plugins that take the nodes of their name.
    """

    library: Library
    gpu: Gpu | None = None
    restricted_to: str = ANY
    workspace: int | None = None
    plugins: tuple[str, ...] = ()

    @property
    def architecture(self) -> str:
        """The compute capability that it builds for, such as ``sm_86``; ``any`` for engines that travel."""
        return self.gpu.sm if self.gpu is not None and self.library.needs_gpu else self.restricted_to

    @property
    def builder(self) -> Builder:
        """See `Library.builder`."""
        return self.library.builder(self.gpu, self.restricted_to)


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
    recipe: Recipe,
    ranges: Ranges | None = None,
    rebuild: bool = False,
    progress: Progress | None = None,
) -> list[BuiltEngine]:
    """Builds an engine for each graph of a bundle into its `engines/`; those that are there and whole are kept.

    Args:
        bundle: a bundle's folder, opened.
        recipe: with what, and for which GPU.
        ranges: the sizes of each dynamic dimension by name; by default a batch of 1 to 8.
        rebuild: build also what is there.
        progress: told how far it is.

    Raises:
        UsageError: a packed bundle; ranges that are not those of the graphs' dynamic dimensions.
        EngineError: a graph that the library cannot take; no GPU where the library needs one; a GPU without the
            bundle's precision.
        OutputError: disk full, no permission.

    Examples:
        >>> from rsvl.runtime.backends.tensorrt import Recipe, batch_range, find_library
        >>> recipe = Recipe(find_library())
        >>> built = build_engines(Bundle("tiny.bundle"), recipe, {"batch": batch_range(max_batch=4)})
        >>> [engine.reused for engine in built]
        [False, False, False]
    """
    if bundle.packed:
        raise UsageError(
            f"{bundle.source} is packed and has no place for engines: unpack it first (python -m zipfile -e)"
        )
    check_precision(bundle.manifest.precision, recipe.architecture)
    graphs = bundle.manifest.model.graphs
    ranges = checked_ranges(graphs, ranges or {BATCH: batch_range()})
    builder, store = recipe.builder, EngineStore(bundle)
    built = []
    for number, graph in enumerate(graphs):

        def tell(share: float, phase: str, number: int = number, name: str = graph.name) -> None:
            if progress is not None:
                progress((number + share) / len(graphs), f"building {name} with {builder.backend}")

        shapes = profile(graph, ranges)
        key = engine_key(bundle, graph, builder, shapes, recipe.plugins)
        engine = None if rebuild else store.find_exact(key)
        if engine is not None:
            built.append(BuiltEngine(engine, reused=True))
            continue
        tell(0, "")
        why = "" if rebuild else _why_again(store.find(graph, builder), recipe)
        built.append(BuiltEngine(_build(bundle, store, recipe, key, graph, tell), reused=False, why=why))
    return built


def serving_engine(bundle: Bundle, store: EngineStore, graph: GraphSpec, recipe: Recipe, gpu: Gpu) -> StoredEngine:
    """An engine of a graph that this machine can load: one that is there, else one that is built now.

    Building takes seconds to minutes, so a warning says in one line what is missing. An engine that is out of date is
    built again for the same sizes.

    Raises:
        EngineError: the graph cannot be built here, or the GPU does not have the bundle's precision.
        UsageError: a dynamic dimension other than the batch, whose sizes nobody has said.
    """
    check_precision(bundle.manifest.precision, gpu.sm)
    why, nearest = "", None
    for builder in recipe.library.runs_here(gpu):
        found = store.find(graph, builder)
        if found.engine is not None:
            return found.engine
        if not why:
            why, nearest = found.why, found.nearest
    return rebuilt_engine(bundle, store, graph, recipe, why or "there is none yet", nearest)


def rebuilt_engine(
    bundle: Bundle, store: EngineStore, graph: GraphSpec, recipe: Recipe, why: str, earlier: StoredEngine | None
) -> StoredEngine:
    """Builds an engine for this machine with a warning that says why, like `earlier` in sizes and plugins.

    Raises:
        EngineError: the graph cannot be built here.
        UsageError: a dynamic dimension other than the batch, whose sizes nobody has said.
    """
    if earlier is not None:
        recipe = replace(recipe, plugins=earlier.key.plugins)
    shapes = _same_sizes(graph, earlier) or profile(graph, checked_ranges([graph], {BATCH: batch_range()}))
    key = engine_key(bundle, graph, recipe.builder, shapes, recipe.plugins)
    warnings.warn(f"building the engine of {graph.name}: {why}", stacklevel=2)
    return _build(bundle, store, recipe, key, graph, None)


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


def _why_again(found: Found, recipe: Recipe) -> str:
    """Why what is there does not serve; an engine that travels and was made for another GPU is none to speak of."""
    if found.nearest is None or (
        not recipe.library.needs_gpu and found.nearest.key.builder.gpu != recipe.restricted_to
    ):
        return ""
    return found.why


def _build(
    bundle: Bundle,
    store: EngineStore,
    recipe: Recipe,
    key: EngineKey,
    graph: GraphSpec,
    progress: Callable[[float, str], None] | None,
) -> StoredEngine:
    store.make_folder()  # before the long work: it fails where nothing can be written
    timings = f"{key.builder.backend}-{key.builder.version}-{file_stem(key.builder.gpu)}.timing"
    started = time.perf_counter()
    network = recipe.library.build(
        bundle.path(graph.file),
        key.profile,
        restricted_to=recipe.restricted_to,
        workspace=recipe.workspace,
        plugins=recipe.plugins,
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
