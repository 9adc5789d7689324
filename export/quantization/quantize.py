"""A float32 bundle to int8, in place: calibrated, smoothed, and as much of it as accuracy allows."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from rsvl.export.quantization.feeds import Feeds, collect
from rsvl.export.quantization.groups import grouped
from rsvl.export.quantization.layers import Layer, layers_of
from rsvl.export.quantization.meter import Meter
from rsvl.export.quantization.mix import Mix, Part, choose
from rsvl.export.quantization.progress import Report
from rsvl.export.quantization.qdq import with_int8
from rsvl.export.quantization.ranges import Seen, ranges
from rsvl.export.quantization.settings import Images, Int8
from rsvl.export.quantization.smoothing import smooth, smoothable
from rsvl.runtime.bundle import ENGINES, Bundle
from rsvl.runtime.errors import UsageError
from rsvl.runtime.loading import load
from rsvl.runtime.manifest import GraphSpec
from rsvl.runtime.quantization import LayerGroup, Measured, Quantization
from rsvl.runtime.runner import Runner


@dataclass
class _Graph:
    """A graph on its way to int8: smoothed float32, its layers, and the magnitudes that become 127."""

    spec: GraphSpec
    model: onnx.ModelProto
    layers: list[Layer]
    largest: dict[str, float]


def quantize(directory: Path, settings: Int8, kept: Mapping[str, str], report: Report) -> Quantization:
    """Turns the float32 bundle in a folder into int8, in place; its manifest is left as it is.

    Args:
        directory: the bundle's folder, with its manifest.
        settings: how.
        kept: submodules that stay float: path or pattern → reason.
        report: told how far it is.

    Returns:
        What was done, for the manifest.

    Raises:
        UsageError: nothing in the model can be int8; a data set of another task or sensor.
        DatasetError: a data set without images, or without the labels that are needed.
    """
    bundle = Bundle(directory, check=False)
    runner = load(bundle, provider="cpu")
    graphs, numbers, smoothed = _prepared(bundle, runner, settings, kept, report)
    layers = [layer for graph in graphs for layer in graph.layers]
    if not layers:
        raise UsageError(f"{runner.spec.name} has no layers that int8 is for: export it in fp32 or fp16")
    multiply_adds = {layer: layer.multiply_adds(numbers[layer.graph]) for layer in layers}
    cost = multiply_adds if any(multiply_adds.values()) else {layer: layer.size for layer in layers}
    parts = grouped(layers, cost)

    def write(mix: Mix, folder: Path) -> None:
        _copy(bundle, folder)
        _write(graphs, (layer for name in mix for layer in parts[name]), folder)

    about = (_digest(graphs), settings, sorted(parts))
    meter = None if settings.labelled is None else Meter(runner, settings.labelled, about, write, report)
    chosen, drops = frozenset(parts), dict[str, float]()
    if meter is not None:
        gains = {name: sum(cost[layer] for layer in part) for name, part in parts.items()}
        chosen, drops = _chosen(meter, gains, settings)
    _write(graphs, (layer for name in chosen for layer in parts[name]), directory)
    found = Quantization(
        activations=settings.activations,
        groups=tuple(
            LayerGroup(
                name=name,
                layers=len(part),
                weights=sum({layer.weight: layer.size for layer in part}.values()),
                multiply_adds=sum(multiply_adds[layer] for layer in part),
                int8=name in chosen,
                drop=drops.get(name),
            )
            for name, part in parts.items()
        ),
        smoothed=smoothed,
        calibrator=settings.calibrator if settings.activations else "",
        calibration=_measured(settings.calibration, runner),
    )
    return found if meter is None else _with_figures(found, meter, chosen, settings, runner)


def _prepared(
    bundle: Bundle, runner: Runner, settings: Int8, kept: Mapping[str, str], report: Report
) -> tuple[list[_Graph], dict[str, dict[str, int]], int]:
    """Each graph, smoothed and with its ranges; how many numbers its activations have; how many norms were smoothed."""
    specs = bundle.manifest.model.graphs
    models = {spec.name: onnx.load_model(bundle.path(spec.file)) for spec in specs}
    answers = bundle.manifest.model.final_outputs
    layers = {spec.name: layers_of(spec.name, models[spec.name], kept, answers) for spec in specs}
    graphs = [_Graph(spec, models[spec.name], layers[spec.name], {}) for spec in specs]
    if settings.calibration is None:
        return graphs, {spec.name: {} for spec in specs}, 0
    numbers, smoothed = {}, 0
    with tempfile.TemporaryDirectory(prefix="rsvl-feeds-") as folder:
        feeds = collect(runner, settings.calibration, Path(folder), report)
        for done, graph in enumerate(graphs):
            report(done, len(graphs), f"calibrating: {settings.calibrator} of graph {graph.spec.name}")
            numbers[graph.spec.name], norms = _calibrate(graph, feeds, settings.calibrator)
            smoothed += norms
    return graphs, numbers, smoothed


def _calibrate(graph: _Graph, feeds: Feeds, calibrator: str) -> tuple[dict[str, int], int]:
    """Smooths a graph and finds its ranges; gives its activations' sizes and how many norms were smoothed."""
    name = graph.spec.name
    tensors = list(dict.fromkeys(t for layer in graph.layers for t in (layer.takes, layer.gives) if t))
    norms = smoothable(graph.model, graph.layers)
    seen = Seen(graph.model, tensors, [norm.output for norm in norms], feeds.of(name))
    smoothed = smooth(graph.model, norms, seen.channels)
    peaks = seen.peaks | {output: float(channels.max()) for output, channels in smoothed.items()}
    graph.largest = ranges(graph.model, peaks, feeds.of(name), calibrator)
    return seen.numbers, len(norms)


def _chosen(meter: Meter, gains: Mapping[str, int], settings: Int8) -> tuple[Mix, dict[str, float]]:
    """The mix, and each part's drop where it had to be measured."""
    everything, allowed = frozenset(gains), settings.max_drop.of(meter.baseline)
    fits = meter.drop(everything, "everything in int8") <= allowed
    if fits and not settings.sensitivity:
        return everything, {}
    drops = {
        name: meter.drop(frozenset([name]), f"{name} alone ({number} of {len(gains)})")
        for number, name in enumerate(gains, start=1)
    }
    parts = [Part(name, gain, drops[name]) for name, gain in gains.items()]
    return choose(parts, lambda mix: meter.drop(mix, f"{len(mix)} of {len(gains)} parts in int8"), allowed), drops


def _with_figures(found: Quantization, meter: Meter, mix: Mix, settings: Int8, runner: Runner) -> Quantization:
    return replace(
        found,
        figure=meter.figure,
        measured_on=_measured(settings.labelled, runner),
        baseline=meter.baseline,
        value=meter.value(mix, "the mix"),
        allowed_drop=settings.max_drop.of(meter.baseline),
    )


def _measured(images: Images | None, runner: Runner) -> Measured | None:
    if images is None:
        return None
    return Measured(images.data, images.split, min(len(images.open(runner.spec.task)), images.count))


def _write(graphs: Iterable[_Graph], layers: Iterable[Layer], folder: Path) -> None:
    """Writes every graph with these layers in int8."""
    chosen = set(layers)
    for graph in graphs:
        own = [layer for layer in graph.layers if layer in chosen]
        onnx.save_model(with_int8(graph.model, own, graph.largest), folder / graph.spec.file)


def _copy(bundle: Bundle, folder: Path) -> None:
    """The files of a bundle that are not its graphs."""
    graphs = [graph.file for graph in bundle.manifest.model.graphs]
    shutil.copytree(bundle.root, folder, ignore=shutil.ignore_patterns(*graphs, ENGINES), dirs_exist_ok=True)


def _digest(graphs: Iterable[_Graph]) -> str:
    """SHA-256 of all graphs, smoothed and in float32."""
    hashed = hashlib.sha256()
    for graph in graphs:
        hashed.update(graph.model.SerializeToString(deterministic=True))
    return hashed.hexdigest()
