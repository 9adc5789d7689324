"""From a PyTorch model to a verified bundle, step by step."""

from __future__ import annotations

import gc
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np

import rsvl
from rsvl.export.bundle import packed_path, staged, write_manifest
from rsvl.export.golden import write_golden
from rsvl.export.graphs import OPSET, write_graph
from rsvl.export.precision import DTYPES, in_precision, overflowing, watch_ranges
from rsvl.export.quantization import EIGHT_BIT, QuantizationSettings, quantize
from rsvl.export.samples import default_samples
from rsvl.export.verify import Verification, compare, run_bundle, run_pytorch, verifies
from rsvl.modules.bases.exportable import ExportableModel
from rsvl.runtime.errors import InputError, UsageError
from rsvl.runtime.manifest import Manifest, ModelSpec

MIN_SAMPLES = 8

Progress = Callable[[str, float], None]
"""Called at the start of each step with what it does and the fraction, 0…1, of the steps that are done."""


@dataclass(frozen=True)
class Exported:
    """A bundle that was written.

    Attributes:
        path: the bundle's directory.
        packed: the same as one file, where that was asked for.
        manifest: what `manifest.json` says.
        verification: how the exported graphs compare with PyTorch.
    """

    path: Path
    packed: Path | None
    manifest: Manifest
    verification: Verification


def export(
    model: ExportableModel,
    output: str | Path,
    precision: str = "fp32",
    samples: Mapping[str, np.ndarray] | None = None,
    pack: bool = False,
    metrics: Mapping[str, float] | None = None,
    quantization: QuantizationSettings | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Exports a model to a bundle and verifies it against PyTorch; a bundle that fails is not written.

    Args:
        model: a model of the registry, float32, on the CPU. It is in evaluation mode while it is exported.
        output: the bundle's directory; a bundle that is there is replaced once the new one is whole.
        precision: ``fp32``, ``fp16``, ``int8`` or ``fp8``: the type inside the graphs. Their inputs and outputs are
            float32.
        samples: raw inputs by name, [N, …] each with N ≥ 8, to verify with; by default synthetic scenes and noise.
        pack: also write the bundle as one file beside it (`<output>.rsvl`).
        metrics: accuracy figures known for these weights, for the manifest.
        quantization: for ``int8`` and ``fp8``, how it is calibrated, measured and chosen.
        progress: told of each step.

    Raises:
        UsageError: an unknown precision; quantization's settings without such a precision or the reverse; settings
            that the type has no use for; calibration data of another task or sensor.
        DatasetError: calibration data that are missing, damaged, empty, or without the labels that are needed.
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
    step = _Steps(progress, total=len(spec.graphs) + 3 + (quantization is not None))
    was_training = model.training
    model.eval()
    try:
        with staged(Path(output), pack) as directory:
            step("running the model in PyTorch")
            inputs = _checked(samples or default_samples(spec, model.tokenizer_json() if spec.text else None), spec)
            expected, kept = _reference(model, spec, inputs, precision)
            for graph in spec.graphs:
                written = precision if quantization is None else "fp32"
                step(f"exporting graph {graph.name} in {written}")
                module = in_precision(model.graph(graph.name), model, written, kept)
                write_graph(module, graph, directory / _file(graph.name), winograd=precision == "fp32")
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
                versions=_versions(),
            )
            write_manifest(directory, draft)
            if quantization is not None:
                step("quantizing")
                agrees = partial(verifies, spec, expected, inputs, precision)
                found = quantize(directory, quantization, kept, step.within, agrees, EIGHT_BIT[precision])
                draft = replace(draft, quantization=found, kept_fp32={**kept, **found.kept(precision)})
                write_manifest(directory, draft)
            step("verifying against PyTorch in ONNX Runtime")
            verification = compare(spec, expected, run_bundle(directory, inputs), precision)
            write_golden(directory, spec, expected)
            manifest = write_manifest(directory, replace(draft, verification=asdict(verification)))
            step("packing" if pack else "putting the bundle in place")
    finally:
        model.train(was_training)
    path = Path(output)
    return Exported(path, packed_path(path) if pack else None, manifest, verification)


class _Steps:
    """Counts the steps for the caller's progress bar."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0

    def __call__(self, what: str) -> None:
        if self.progress is not None:
            self.progress(what, self.done / self.total)
        self.done += 1

    def within(self, done: float, total: float, what: str = "") -> None:
        """So much of `total` of the step that began last is done."""
        if self.progress is not None:
            self.progress(what, (self.done - 1 + done / max(total, 1)) / self.total)


def _check_precision(precision: str, quantization: QuantizationSettings | None, spec: ModelSpec) -> None:
    known = (*DTYPES, *EIGHT_BIT)
    if precision not in known:
        raise UsageError(f"unknown precision {precision!r}: use {' or '.join(known)}")
    if (precision in EIGHT_BIT) != (quantization is not None):
        raise UsageError(
            f"{' and '.join(EIGHT_BIT)} need settings, and these one of them: "
            "give export() precision='int8' and quantization=QuantizationSettings(…)"
        )
    if quantization is not None:
        quantization.check(spec.task, EIGHT_BIT[precision])


def _reference(
    model: ExportableModel, spec: ModelSpec, inputs: Mapping[str, np.ndarray], precision: str
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """What PyTorch gives in float32, and what must stay float32 with the reason: declared by the model or measured."""
    if precision == "fp32" or precision in EIGHT_BIT:
        return run_pytorch(model, spec, inputs), dict(model.keep_fp32) if precision in EIGHT_BIT else {}
    with watch_ranges(model) as largest:
        expected = run_pytorch(model, spec, inputs)
    return expected, {**model.keep_fp32, **overflowing(largest)}


def _checked(samples: Mapping[str, np.ndarray], spec: ModelSpec) -> dict[str, np.ndarray]:
    raw = spec.raw_inputs
    if set(samples) != set(raw):
        raise InputError(f"samples are {', '.join(sorted(samples))}: this model takes {', '.join(sorted(raw))}")
    counts = {len(array) for array in samples.values()}
    if len(counts) != 1 or min(counts) < MIN_SAMPLES:
        raise InputError(f"{sorted(counts)} samples: give at least {MIN_SAMPLES}, as many of each input")
    for name, tensor in raw.items():
        if samples[name].shape[1:] != tensor.shape[1:] or samples[name].dtype != tensor.dtype:
            found = f"{samples[name].dtype} {list(samples[name].shape)}"
            raise InputError(f"sample {name} is {found}: this model takes {tensor.dtype} {list(tensor.shape)}")
    return dict(samples)


def _file(graph: str) -> str:
    return f"{graph}.onnx"


def _versions() -> dict[str, str]:
    packages = ("torch", "onnx", "onnxscript", "onnxruntime", "numpy")
    found = {name: version(name) for name in packages}
    return {"rsvl": rsvl.__version__, "python": platform.python_version(), **found, "opset": str(OPSET)}
