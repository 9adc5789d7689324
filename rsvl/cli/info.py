"""`rsvl info`: what a bundle says of itself, without loading it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rsvl.cli import options
from rsvl.cli.console import print_json, print_line, print_table
from rsvl.cli.engine import as_dict
from rsvl.cli.tune import choice_as_dict

if TYPE_CHECKING:
    from rsvl.runtime.backends.tensorrt.store import StoredEngine
    from rsvl.runtime.bundle import Bundle
    from rsvl.runtime.manifest import GraphSpec, Manifest, ModelSpec, TensorSpec
    from rsvl.runtime.tuning.choice import Choice


def info(bundle: options.Bundle, json: options.Json = False) -> None:
    """Show what is in a bundle.

    Graphs, inputs and outputs, precision, engines, what rsvl tune chose, where the
    weights came from, verification, sizes, versions. Files are not hashed: rsvl check does that.
    """
    from rsvl.runtime.backends.tensorrt.store import EngineStore
    from rsvl.runtime.bundle import Bundle
    from rsvl.runtime.tuning.store import known_choices

    opened = Bundle(bundle, check=False)
    choices = known_choices(opened)
    store = EngineStore(opened)
    engines = [engine for graph in opened.manifest.model.graphs for engine in store.stored(graph)]
    if json:
        print_json(_as_json(opened, engines, choices))
        return
    print_line("\n".join(_lines(opened)))
    _print_tensors(opened.manifest)
    _print_graphs(opened)
    _print_engines(engines)
    for choice in choices:
        print_line(f"runs {choice.summary} ({choice.measured})")


def _as_json(bundle: Bundle, engines: Sequence[StoredEngine], choices: Sequence[Choice]) -> dict[str, Any]:
    manifest = asdict(bundle.manifest)
    sizes = _sizes(bundle)
    return {
        "bundle": str(bundle.source),
        "packed": bundle.packed,
        "bytes": bundle.size,
        **manifest,
        "files": {name: {"bytes": sizes[name], "sha256": digest} for name, digest in manifest["files"].items()},
        "engines": [as_dict(engine) for engine in engines],
        "tuned": [choice_as_dict(choice) for choice in choices],
    }


def _lines(bundle: Bundle) -> Iterator[str]:
    manifest, model = bundle.manifest, bundle.manifest.model
    yield f"{bundle.source}: {model.name} in {manifest.precision}, {bundle.size / 1e6:.1f} MB"
    about = {
        "task": model.task,
        "paper": model.paper,
        "weights": _weights(manifest.source),
        "preprocessing": "; ".join(_preprocessing(manifest)),
        "answers": f"{len(model.answers)}" if model.answers else "",
        "classes": _classes(model),
        "quantization": _quantization(manifest),
        "stays fp32": ", ".join(manifest.kept_fp32),
        "verification": _verification(manifest.verification),
        "metrics": ", ".join(f"{name} {value:.4f}" for name, value in manifest.metrics.items()),
        "made with": ", ".join(f"{name} {version}" for name, version in manifest.versions.items()),
        "schema": str(manifest.schema),
    }
    for name, value in about.items():
        if value:
            yield f"{name + ':':<15}{value}"


def _classes(model: ModelSpec) -> str:
    if not model.classes:
        return ""
    return f"{', '.join(model.classes)} ({len(model.classes)}; temperature {model.temperature:g})"


def _weights(source: dict[str, Any]) -> str:
    name, digest = str(source.get("weights", "")), str(source.get("sha256", ""))
    return f"{name} (SHA-256 {digest[:16]}…)" if digest else name


def _preprocessing(manifest: Manifest) -> Iterator[str]:
    for image in manifest.model.images:
        bands = f", bands {', '.join(map(str, image.bands))}" if image.bands else ""
        size = f"{image.size}×{image.size}, {image.resize}"
        border = "" if image.letterbox is None else f", letterbox of {_colour(image.letterbox)}"
        yield f"{image.name}: {' or '.join(image.sensors)}, {size}{border}{bands}"
    if manifest.model.text is not None:
        yield f"text: {manifest.model.text.tokens} tokens"


def _colour(border: int | tuple[int, ...]) -> str:
    return f"gray {border}" if isinstance(border, int) else f"colour {', '.join(map(str, border))}"


def _quantization(manifest: Manifest) -> str:
    found = manifest.quantization
    if found is None:
        return ""
    measured = ""
    if found.baseline is not None and found.value is not None:
        measured = f", {found.figure} {found.value:.4f}, in float32 {found.baseline:.4f}"
    return f"{found.share:.1%} of the layers' {found.measured_by}{measured}"


def _verification(found: dict[str, Any]) -> str:
    if not found:
        return ""
    measures = ", ".join(f"{measure['name']} {measure['value']:.4g}" for measure in found["measures"])
    return f"{found['inputs']} inputs against {found.get('reference', 'PyTorch')}: {measures}"


def _print_tensors(manifest: Manifest) -> None:
    kinds = {"input": manifest.model.raw_inputs, "output": manifest.model.final_outputs}
    rows = [[kind, t.name, _shape(t), t.dtype] for kind, tensors in kinds.items() for t in tensors.values()]
    print_table(["", "tensor", "shape", "dtype"], rows)


def _print_graphs(bundle: Bundle) -> None:
    sizes = _sizes(bundle)
    rows = [
        [
            graph.name,
            f"{sum(sizes.get(file, 0) for file in graph.all_files) / 1e6:.1f}",
            _variants(graph, sizes),
            ", ".join(f"{t.name} {_shape(t)}" for t in graph.inputs),
            ", ".join(f"{t.name} {_shape(t)}" for t in graph.outputs),
        ]
        for graph in bundle.manifest.model.graphs
    ]
    print_table(["graph", "MB", "variants (MB)", "inputs", "outputs"], rows)


def _variants(graph: GraphSpec, sizes: Mapping[str, int]) -> str:
    """The backends that take the graph in a form of their own, with the size of each, which is in the graph's."""
    return ", ".join(f"{variant.backend} {sizes[variant.file] / 1e6:.2f}" for variant in graph.variants) or "–"


def _print_engines(engines: Sequence[StoredEngine]) -> None:
    if not engines:
        return
    rows = [
        [
            engine.key.graph,
            f"{engine.key.builder.backend} {engine.key.builder.version}",
            engine.key.builder.gpu,
            engine.key.precision,
            f"{engine.size / 1e6:.1f}",
            engine.path.name,
        ]
        for engine in engines
    ]
    print_table(["engine of", "built with", "for", "precision", "MB", "file"], rows)


def _sizes(bundle: Bundle) -> dict[str, int]:
    return {name: bundle.path(name).stat().st_size for name in bundle.manifest.files}


def _shape(tensor: TensorSpec) -> str:
    return f"[{', '.join(map(str, tensor.shape))}]"
