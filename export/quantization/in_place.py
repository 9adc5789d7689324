"""Quantizes a float32 bundle to 8 bits, in place: calibrated, smoothed, and as much of it as accuracy allows."""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import onnx

from rsvl.export.bundle import write_manifest
from rsvl.export.graph_files import replace_graph
from rsvl.export.quantization.calibration_data import CalibrationData, collect
from rsvl.export.quantization.groups import grouped
from rsvl.export.quantization.layers import Layer, layers_of
from rsvl.export.quantization.measurement_cache import CachedMetric
from rsvl.export.quantization.metric import AgreementMetric, PrimaryMetric
from rsvl.export.quantization.mixed_precision_search import Part, Selection, choose
from rsvl.export.quantization.qdq import quantized
from rsvl.export.quantization.ranges import ActivationStats, ranges
from rsvl.export.quantization.settings import QuantizationSettings
from rsvl.export.quantization.smoothing import smooth, smoothable
from rsvl.export.quantization.types import INT8, QuantType
from rsvl.export.variants import in_form
from rsvl.runtime.bundle import ENGINES, Bundle
from rsvl.runtime.errors import UsageError
from rsvl.runtime.manifest import GraphSpec
from rsvl.runtime.progress import Progress
from rsvl.runtime.quantization import LayerGroup, Measured, Quantization
from rsvl.runtime.temporary import LockedFolder


@dataclass
class _Graph:
    """A graph on its way to 8 bits.

    Attributes:
        spec: its declaration.
        model: float32, smoothed once it is calibrated.
        layers: its layers that can be quantized.
        largest: the magnitude that maps to the type's largest, of each activation that they take or give.
        elements: elements per sample of each.
        smoothed: how many layer norms were smoothed.
    """

    spec: GraphSpec
    model: onnx.ModelProto
    layers: list[Layer]
    largest: dict[str, float] = field(default_factory=dict)
    elements: dict[str, int] = field(default_factory=dict)
    smoothed: int = 0


def quantize_in_place(
    directory: Path,
    settings: QuantizationSettings,
    kept: Mapping[str, str],
    progress: Progress,
    agrees: Callable[[Path], bool] = lambda _: True,
    kind: QuantType = INT8,
) -> Quantization:
    """Quantizes the float32 bundle in a folder to 8 bits, in place; its manifest is left as it is.

    Args:
        directory: the bundle's folder, with its manifest.
        settings: how.
        kept: submodules that stay float: path or pattern → reason.
        progress: called as the work goes on.
        agrees: whether the bundle in a folder passes the export's verification: where the choice is measured, a
            selection that does not is not chosen. By default all pass.
        kind: the type; for what is measured in fp8 the manifest must say so already.

    Returns:
        What was done, for the manifest.

    Raises:
        UsageError: nothing in the model can be quantized; a dataset of another task or sensor.
        DatasetError: a dataset without images, or without the labels that are needed.
    """
    bundle = Bundle(directory, check=False)
    bundle.manifest = in_form(bundle.manifest)  # variants follow when the graphs are what they stay
    graphs = _graphs(bundle, kept, kind)
    layers = [layer for graph in graphs for layer in graph.layers]
    if not layers:
        raise UsageError(
            f"{bundle.manifest.model.name} has no layers that {kind.name} can quantize: export it in fp32 or fp16"
        )
    calibration = _calibrated(graphs, bundle, settings, progress)
    macs = {layer: layer.macs(graph.elements) for graph in graphs for layer in graph.layers}
    cost = macs if any(macs.values()) else {layer: layer.size for layer in layers}
    parts = grouped(layers, cost)

    def write(selection: Selection, folder: Path) -> None:
        copy_without_graphs(bundle, folder)
        _write(graphs, (layer for name in selection for layer in parts[name]), folder, kind)
        write_manifest(folder, bundle.manifest)

    cached = None
    chosen, drops = frozenset(parts), dict[str, float]()
    if settings.labelled is not None:
        metric = (AgreementMetric if settings.agreement else PrimaryMetric)(bundle, settings.labelled, progress)
        cached = CachedMetric(metric, _identity(graphs, parts, kind), write)
        gains = {name: sum(cost[layer] for layer in part) for name, part in parts.items()}
        chosen, drops = _chosen(cached, gains, settings, agrees)
    _write(graphs, (layer for name in chosen for layer in parts[name]), directory, kind)
    found = Quantization(
        activations=settings.activations,
        groups=tuple(_described(name, parts[name], macs, name in chosen, drops.get(name)) for name in parts),
        smoothed=sum(graph.smoothed for graph in graphs),
        calibrator=settings.calibrator if settings.activations else "",
        calibration=calibration,
    )
    return found if cached is None else _with_measurements(found, cached, chosen, settings)


def _graphs(bundle: Bundle, kept: Mapping[str, str], kind: QuantType) -> list[_Graph]:
    """The bundle's graphs with their layers; final outputs are not rounded."""
    outputs, graphs = bundle.manifest.model.final_outputs, []
    for spec in bundle.manifest.model.graphs:
        model = onnx.load_model(bundle.graph(spec))
        graphs.append(_Graph(spec, model, layers_of(spec.name, model, kept, outputs, kind)))
    return graphs


def _calibrated(
    graphs: Sequence[_Graph], bundle: Bundle, settings: QuantizationSettings, progress: Progress
) -> Measured | None:
    """Calibrates the graphs; returns on what, or None where only weights are quantized."""
    if settings.calibration is None:
        return None
    with LockedFolder("rsvl-calibration-") as temporary:
        data = collect(bundle, settings.calibration, temporary.path, progress)
        for done, graph in enumerate(graphs):
            progress(done, len(graphs), f"calibrating: {settings.calibrator} of graph {graph.spec.name}")
            _calibrate(graph, data, settings.calibrator)
    return Measured(settings.calibration.data, settings.calibration.split, data.images)


def _calibrate(graph: _Graph, data: CalibrationData, calibrator: str) -> None:
    """Smooths a graph and finds its ranges."""
    name = graph.spec.name
    tensors = list(dict.fromkeys(t for layer in graph.layers for t in (layer.takes, layer.gives) if t))
    norms = smoothable(graph.model, graph.layers)
    stats = ActivationStats(graph.model, tensors, [norm.output for norm in norms], data.runs(name))
    channels = smooth(graph.model, norms, stats.channels)
    peaks = stats.peaks | {output: float(largest.max()) for output, largest in channels.items()}
    graph.largest = ranges(graph.model, peaks, data.runs(name), calibrator)
    graph.elements, graph.smoothed = stats.elements, len(norms)


def _described(
    name: str, layers: Sequence[Layer], macs: Mapping[Layer, int], chosen: bool, drop: float | None
) -> LayerGroup:
    weights = sum({layer.weight: layer.size for layer in layers}.values())  # layers may share them
    return LayerGroup(name, len(layers), weights, sum(macs[layer] for layer in layers), chosen, drop)


def _chosen(
    cached: CachedMetric, gains: Mapping[str, int], settings: QuantizationSettings, agrees: Callable[[Path], bool]
) -> tuple[Selection, dict[str, float]]:
    """The parts to quantize, and each part's drop where it had to be measured."""
    everything, allowed = frozenset(gains), settings.max_drop.of(cached.metric.baseline)

    def drop(selection: Selection, what: str) -> float:
        """The metric's drop; infinite for a selection that verification would refuse."""
        found = cached.drop(selection, what)
        return found if found > allowed or cached.passes(selection, agrees) else math.inf

    fits = drop(everything, "all parts") <= allowed
    if fits and not settings.sensitivity:
        return everything, {}
    drops = {
        name: cached.drop(frozenset([name]), f"{name} alone ({number} of {len(gains)})")
        for number, name in enumerate(gains, start=1)
    }
    parts = [Part(name, gain, drops[name]) for name, gain in gains.items()]
    return choose(parts, lambda selection: drop(selection, f"{len(selection)} of {len(gains)} parts"), allowed), drops


def _with_measurements(
    found: Quantization, cached: CachedMetric, selection: Selection, settings: QuantizationSettings
) -> Quantization:
    assert settings.labelled is not None
    return replace(
        found,
        figure=cached.metric.name,
        measured_on=Measured(settings.labelled.data, settings.labelled.split, cached.metric.images),
        baseline=cached.metric.baseline,
        value=cached.value(selection, "the chosen parts"),
        allowed_drop=settings.max_drop.of(cached.metric.baseline),
    )


def _write(graphs: Iterable[_Graph], layers: Iterable[Layer], folder: Path, kind: QuantType) -> None:
    """Writes every graph with these layers in 8 bits."""
    chosen = set(layers)
    for graph in graphs:
        own = [layer for layer in graph.layers if layer in chosen]
        replace_graph(quantized(graph.model, own, graph.largest, kind), folder, graph.spec)


def copy_without_graphs(bundle: Bundle, folder: Path) -> None:
    """Copies the files of a bundle that are not its graphs."""
    graphs = [file for graph in bundle.manifest.model.graphs for file in graph.all_files]
    shutil.copytree(bundle.root, folder, ignore=shutil.ignore_patterns(*graphs, ENGINES), dirs_exist_ok=True)


def _identity(graphs: Sequence[_Graph], parts: Mapping[str, Sequence[Layer]], kind: QuantType) -> object:
    """All that the graphs of any selection depend on."""
    hashed = hashlib.sha256()
    for graph in graphs:
        hashed.update(graph.model.SerializeToString(deterministic=True))
    return kind.name, hashed.hexdigest(), [sorted(graph.largest.items()) for graph in graphs], sorted(parts.items())
