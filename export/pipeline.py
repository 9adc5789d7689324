"""From a PyTorch model to a verified bundle, step by step."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from rsvl.export.bundle import Exported, packed_path, staged, versions, write_manifest
from rsvl.export.golden import write_golden, write_golden_inputs
from rsvl.export.graphs import OPSET, write_graph
from rsvl.export.precision import DTYPES, in_precision, overflowing, watch_ranges
from rsvl.export.pytorch_reference import run_pytorch
from rsvl.export.quantization import QUANT_TYPES, QuantizationSettings, quantize_staged
from rsvl.export.samples import checked_samples, default_samples
from rsvl.export.steps import Steps
from rsvl.export.variants import add_variants
from rsvl.export.verify import Reference, verify
from rsvl.modules.bases.exportable import ExportableModel
from rsvl.runtime.errors import UsageError
from rsvl.runtime.manifest import Manifest, ModelSpec
from rsvl.runtime.progress import Progress, silent


def export(
    model: ExportableModel,
    output: str | Path,
    precision: str = "fp32",
    samples: Mapping[str, np.ndarray] | None = None,
    pack: bool = False,
    metrics: Mapping[str, float] | None = None,
    quantization: QuantizationSettings | None = None,
    progress: Progress = silent,
) -> Exported:
    """Exports a model to a bundle and verifies it against PyTorch; a bundle that fails is not written.

    Args:
        model: a model of the registry, float32, on the CPU. It is in evaluation mode while it is exported.
        output: the bundle's directory; a bundle that is there is replaced once the new one is whole.
        precision: ``fp32``, ``fp16``, ``int8`` or ``fp8``: the type inside the graphs. Their inputs and outputs are
            float32.
        samples: raw inputs by name, [N, …] each with N ≥ 8, to verify with; by default synthetic scenes and noise.
        pack: also write the bundle as one file beside it (`<output>.rsvl`).
        metrics: known accuracy metrics of these weights, for the manifest.
        quantization: for ``int8`` and ``fp8``, how it is calibrated, measured and chosen.
        progress: called at the start of every step, and while it quantizes.

    Raises:
        UsageError: an unknown precision; quantization's settings without such a precision or the reverse; settings
            that the type has no use for; calibration data of another task or sensor.
        DatasetError: calibration data that is missing, damaged, empty, or without the labels that are needed.
        InputError: fewer than 8 samples, or samples that are not those the model takes.
        VerificationError: the exported graphs disagree with PyTorch; nothing was written.
        OutputError: the bundle cannot be written (disk full, not writable, something else is there).

    Examples:
        A model of three lines, declared and exported; `rsvl.load("cd2fsan-tiny")` gives one that ships.

        >>> from rsvl.runtime.manifest import GraphSpec, ModelSpec, TensorSpec
        >>> class Doubler(ExportableModel):
        ...     graphs = (GraphSpec("double", (TensorSpec("x", ("batch", 2)),), (TensorSpec("y", ("batch", 2)),)),)
        ...     spec = ModelSpec("doubler", "doubling", "none", (), None, graphs)
        ...
        ...     def double(self, x):
        ...         return (2 * x,)
        >>> exported = export(Doubler(), "doubler.bundle", precision="fp16")
        >>> exported.verification.measures[0].passed
        True
    """
    spec: ModelSpec = model.spec
    _check_precision(precision, quantization, spec)
    steps = Steps(progress, total=len(spec.graphs) + 4 + (quantization is not None))
    was_training = model.training
    model.eval()
    try:
        with staged(Path(output), pack) as directory:
            steps.begin("running the model in PyTorch")
            given = samples or default_samples(spec, model.tokenizer_json() if spec.text else None)
            reference, kept = _reference(model, checked_samples(given, spec), precision)
            for graph in spec.graphs:
                written = precision if quantization is None else "fp32"
                steps.begin(f"exporting graph {graph.name} in {written}")
                module = in_precision(model.graph(graph.name), model, written, kept)
                write_graph(module, graph, directory / _file(graph.name))
                del module
                gc.collect()  # a graph's copy of the weights goes before the next one comes
            if spec.text is not None:
                (directory / spec.text.tokenizer).write_text(model.tokenizer_json(), encoding="utf-8")
            draft = Manifest(
                model=replace(spec, graphs=tuple(replace(g, file=_file(g.name)) for g in spec.graphs)),
                precision=precision,
                source=dict(getattr(model, "source", {"weights": "random"})),
                kept_fp32=kept,
                metrics=dict(metrics or {}),
                versions={**versions("torch", "onnx", "onnxscript", "onnxruntime", "numpy"), "opset": str(OPSET)},
            )
            write_manifest(directory, draft)
            if quantization is not None:
                steps.begin("quantizing")
                draft = quantize_staged(directory, draft, quantization, reference, steps.within)
            steps.begin("writing the graphs' variants")
            draft = write_manifest(directory, add_variants(directory, draft))
            steps.begin("verifying against PyTorch in ONNX Runtime")
            verification = verify(directory, reference, precision)
            write_golden(directory, spec, reference.tensors)
            write_golden_inputs(directory, spec, model.tokenizer_json() if spec.text else None)
            manifest = write_manifest(directory, replace(draft, verification=asdict(verification)))
            steps.begin("packing" if pack else "putting the bundle in place")
    finally:
        model.train(was_training)
    path = Path(output)
    return Exported(path, packed_path(path) if pack else None, manifest, verification)


def _check_precision(precision: str, quantization: QuantizationSettings | None, spec: ModelSpec) -> None:
    known = (*DTYPES, *QUANT_TYPES)
    if precision not in known:
        raise UsageError(f"unknown precision {precision!r}: use {' or '.join(known)}")
    if (precision in QUANT_TYPES) != (quantization is not None):
        raise UsageError(
            f"{' and '.join(QUANT_TYPES)} need settings, and these one of them: "
            "give export() precision='int8' and quantization=QuantizationSettings(…)"
        )
    if quantization is not None:
        quantization.check(spec.task, QUANT_TYPES[precision])


def _reference(
    model: ExportableModel, samples: Mapping[str, np.ndarray], precision: str
) -> tuple[Reference, dict[str, str]]:
    """What PyTorch gives in float32, and what must stay float32 with the reason: declared by the model or measured."""
    if precision != "fp16":
        return Reference("PyTorch", run_pytorch(model, model.spec, samples)), dict(model.keep_fp32)
    with watch_ranges(model) as largest:
        tensors = run_pytorch(model, model.spec, samples)
    return Reference("PyTorch", tensors), {**model.keep_fp32, **overflowing(largest)}


def _file(graph: str) -> str:
    return f"{graph}.onnx"
