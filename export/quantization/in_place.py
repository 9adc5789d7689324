"""A float32 bundle to 8 bits, in place: calibrated, smoothed, and as much of it as accuracy allows."""

from __future__ import annotations

import hashlib
import math
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import onnx

from rsvl.export.bundle import write_manifest
from rsvl.export.graph_files import replace_graph
from rsvl.export.quantization.calibration_data import Feeds, collect
from rsvl.export.quantization.groups import grouped
from rsvl.export.quantization.layers import Layer, layers_of
from rsvl.export.quantization.measurement_cache import Meter
from rsvl.export.quantization.metric import Agreement, TaskFigure
from rsvl.export.quantization.mixed_precision_search import Mix, Part, choose
from rsvl.export.quantization.qdq import quantized
from rsvl.export.quantization.ranges import Seen, ranges
from rsvl.export.quantization.settings import QuantizationSettings
from rsvl.export.quantization.smoothing import smooth, smoothable
from rsvl.export.quantization.types import INT8, EightBit
from rsvl.runtime.bundle import ENGINES, Bundle
from rsvl.runtime.errors import UsageError
from rsvl.runtime.manifest import GraphSpec
from rsvl.runtime.progress import Progress
from rsvl.runtime.quantization import LayerGroup, Measured, Quantization


@dataclass
class _Graph:
    """A graph on its way to 8 bits.

    Attributes:
        spec: its declaration.
        model: float32, smoothed once it is calibrated.
        layers: its layers that 8 bits are for.
        largest: the magnitude that becomes the type's largest, of each activation that they take or give.
        numbers: how many numbers one sample has of each.
        smoothed: how many layer norms were smoothed.
    """

    spec: GraphSpec
    model: onnx.ModelProto
    layers: list[Layer]
    largest: dict[str, float] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    smoothed: int = 0


def quantize_in_place(
    directory: Path,
    settings: QuantizationSettings,
    kept: Mapping[str, str],
    progress: Progress,
    agrees: Callable[[Path], bool] = lambda _: True,
    kind: EightBit = INT8,
) -> Quantization:
    """Turns the float32 bundle in a folder into 8 bits, in place; its manifest is left as it is.

    Args:
        directory: the bundle's folder, with its manifest.
        settings: how.
        kept: submodules that stay float: path or pattern → reason.
        progress: called as the work goes on.
        agrees: whether the bundle in a folder passes the export's verification: where the choice is measured, a mix
            that does not is not chosen. By default all pass.
        kind: the type; for what is measured in fp8 the manifest must say so already.

    Returns:
        What was done, for the manifest.

    Raises:
        UsageError: nothing in the model can be in 8 bits; a data set of another task or sensor.
        DatasetError: a data set without images, or without the labels that are needed.
    """
    bundle = Bundle(directory, check=False)
    graphs = _graphs(bundle, kept, kind)
    layers = [layer for graph in graphs for layer in graph.layers]
    if not layers:
        raise UsageError(
            f"{bundle.manifest.model.name} has no layers that {kind.name} is for: export it in fp32 or fp16"
        )
    calibration = _calibrated(graphs, bundle, settings, progress)
    multiply_adds = {layer: layer.multiply_adds(graph.numbers) for graph in graphs for layer in graph.layers}
    cost = multiply_adds if any(multiply_adds.values()) else {layer: layer.size for layer in layers}
    parts = grouped(layers, cost)

    def write(mix: Mix, folder: Path) -> None:
        copy_without_graphs(bundle, folder)
        _write(graphs, (layer for name in mix for layer in parts[name]), folder, kind)
        write_manifest(folder, bundle.manifest)

    meter = None
    chosen, drops = frozenset(parts), dict[str, float]()
    if settings.labelled is not None:
        figure = (Agreement if settings.agreement else TaskFigure)(bundle, settings.labelled, progress)
        meter = Meter(figure, _identity(graphs, parts, kind), write)
        gains = {name: sum(cost[layer] for layer in part) for name, part in parts.items()}
        chosen, drops = _chosen(meter, gains, settings, agrees)
    _write(graphs, (layer for name in chosen for layer in parts[name]), directory, kind)
    found = Quantization(
        activations=settings.activations,
        groups=tuple(_described(name, parts[name], multiply_adds, name in chosen, drops.get(name)) for name in parts),
        smoothed=sum(graph.smoothed for graph in graphs),
        calibrator=settings.calibrator if settings.activations else "",
        calibration=calibration,
    )
    return found if meter is None else _with_figures(found, meter, chosen, settings)


def _graphs(bundle: Bundle, kept: Mapping[str, str], kind: EightBit) -> list[_Graph]:
    """The bundle's graphs with their layers; those that give answers do not round them."""
    answers, graphs = bundle.manifest.model.final_outputs, []
    for spec in bundle.manifest.model.graphs:
        model = onnx.load_model(bundle.path(spec.file))
        graphs.append(_Graph(spec, model, layers_of(spec.name, model, kept, answers, kind)))
    return graphs


def _calibrated(
    graphs: Sequence[_Graph], bundle: Bundle, settings: QuantizationSettings, progress: Progress
) -> Measured | None:
    """Calibrates the graphs, and tells on what; None where only weights are wanted."""
    if settings.calibration is None:
        return None
    with tempfile.TemporaryDirectory(prefix="rsvl-feeds-") as folder:
        feeds = collect(bundle, settings.calibration, Path(folder), progress)
        for done, graph in enumerate(graphs):
            progress(done, len(graphs), f"calibrating: {settings.calibrator} of graph {graph.spec.name}")
            _calibrate(graph, feeds, settings.calibrator)
    return Measured(settings.calibration.data, settings.calibration.split, feeds.images)


def _calibrate(graph: _Graph, feeds: Feeds, calibrator: str) -> None:
    """Smooths a graph and finds its ranges."""
    name = graph.spec.name
    tensors = list(dict.fromkeys(t for layer in graph.layers for t in (layer.takes, layer.gives) if t))
    norms = smoothable(graph.model, graph.layers)
    seen = Seen(graph.model, tensors, [norm.output for norm in norms], feeds.of(name))
    channels = smooth(graph.model, norms, seen.channels)
    peaks = seen.peaks | {output: float(largest.max()) for output, largest in channels.items()}
    graph.largest = ranges(graph.model, peaks, feeds.of(name), calibrator)
    graph.numbers, graph.smoothed = seen.numbers, len(norms)


def _described(
    name: str, layers: Sequence[Layer], multiply_adds: Mapping[Layer, int], chosen: bool, drop: float | None
) -> LayerGroup:
    weights = sum({layer.weight: layer.size for layer in layers}.values())  # layers may share them
    return LayerGroup(name, len(layers), weights, sum(multiply_adds[layer] for layer in layers), chosen, drop)


def _chosen(
    meter: Meter, gains: Mapping[str, int], settings: QuantizationSettings, agrees: Callable[[Path], bool]
) -> tuple[Mix, dict[str, float]]:
    """The mix, and each part's drop where it had to be measured."""
    everything, allowed = frozenset(gains), settings.max_drop.of(meter.figure.baseline)

    def drop(mix: Mix, what: str) -> float:
        """That of the figure; of a mix that would not be written, infinite."""
        found = meter.drop(mix, what)
        return found if found > allowed or meter.passes(mix, agrees) else math.inf

    fits = drop(everything, "all parts") <= allowed
    if fits and not settings.sensitivity:
        return everything, {}
    drops = {
        name: meter.drop(frozenset([name]), f"{name} alone ({number} of {len(gains)})")
        for number, name in enumerate(gains, start=1)
    }
    parts = [Part(name, gain, drops[name]) for name, gain in gains.items()]
    return choose(parts, lambda mix: drop(mix, f"{len(mix)} of {len(gains)} parts"), allowed), drops


def _with_figures(found: Quantization, meter: Meter, mix: Mix, settings: QuantizationSettings) -> Quantization:
    assert settings.labelled is not None
    return replace(
        found,
        figure=meter.figure.name,
        measured_on=Measured(settings.labelled.data, settings.labelled.split, meter.figure.images),
        baseline=meter.figure.baseline,
        value=meter.value(mix, "the mix"),
        allowed_drop=settings.max_drop.of(meter.figure.baseline),
    )


def _write(graphs: Iterable[_Graph], layers: Iterable[Layer], folder: Path, kind: EightBit) -> None:
    """Writes every graph with these layers in 8 bits."""
    chosen = set(layers)
    for graph in graphs:
        own = [layer for layer in graph.layers if layer in chosen]
        replace_graph(quantized(graph.model, own, graph.largest, kind), folder, graph.spec)


def copy_without_graphs(bundle: Bundle, folder: Path) -> None:
    """Copies the files of a bundle that are not its graphs."""
    graphs = [file for graph in bundle.manifest.model.graphs for file in graph.files]
    shutil.copytree(bundle.root, folder, ignore=shutil.ignore_patterns(*graphs, ENGINES), dirs_exist_ok=True)


def _identity(graphs: Sequence[_Graph], parts: Mapping[str, Sequence[Layer]], kind: EightBit) -> object:
    """All that the graphs of any mix follow from."""
    hashed = hashlib.sha256()
    for graph in graphs:
        hashed.update(graph.model.SerializeToString(deterministic=True))
    return kind.name, hashed.hexdigest(), [sorted(graph.largest.items()) for graph in graphs], sorted(parts.items())
