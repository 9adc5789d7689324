"""From a verified float32 bundle to one in 8 bits, step by step; PyTorch is not needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx

from rsvl.export.bundle import Exported, packed_path, staged, versions, write_manifest
from rsvl.export.graph_files import replace_graph
from rsvl.export.quantization.in_place import copy_without_graphs, quantize_in_place
from rsvl.export.quantization.plain_convs import to_plain_convs
from rsvl.export.quantization.settings import QuantizationSettings
from rsvl.export.quantization.types import QUANT_TYPES
from rsvl.export.samples import checked_samples, default_samples
from rsvl.export.steps import Steps
from rsvl.export.variants import add_variants, in_form
from rsvl.export.verify import Reference, run_bundle, verifies, verify
from rsvl.runtime.bundle import MANIFEST, Bundle, sha256
from rsvl.runtime.check import read_golden
from rsvl.runtime.errors import InputError, UsageError
from rsvl.runtime.manifest import Manifest
from rsvl.runtime.progress import Progress, silent


def quantize(
    bundle: str | Path | Bundle,
    output: str | Path,
    precision: str,
    settings: QuantizationSettings,
    samples: Mapping[str, np.ndarray] | None = None,
    pack: bool = False,
    progress: Progress = silent,
) -> Exported:
    """Writes a float32 bundle in 8 bits and verifies it against that bundle; one that fails is not written.

    Example::

        calibration = Images("rrsis-d", Path("data/scenes"), "train", 64)
        quantize("tiny.bundle", "tiny-int8.bundle", "int8", QuantizationSettings(calibration))

    Args:
        bundle: the float32 bundle, a directory, a `.rsvl` file or one that is opened already: the reference. Its golden
            test, which holds what PyTorch gave, goes into the new bundle.
        output: the new bundle's directory; a bundle that is there is replaced once the new one is whole.
        precision: ``int8`` or ``fp8``.
        settings: how it is calibrated, measured and chosen; without calibration data weights alone go to int8.
        samples: raw inputs by name, [N, …] each with N ≥ 8, to verify with beside those of the golden test; by
            default synthetic scenes and noise, where they can be made.
        pack: also write the bundle as one file beside it (`<output>.rsvl`).
        progress: called at the start of every step, and while it quantizes.

    Raises:
        UsageError: an unknown precision, a bundle of another precision than float32, the bundle as its own output;
            settings that the type has no use for; calibration data of another task or sensor.
        BundleError: a bundle that is damaged, incomplete or unsafe.
        DatasetError: calibration data that is missing, damaged, empty, or without the labels that are needed.
        InputError: fewer than 8 samples, or samples that are not those the model takes.
        VerificationError: the new graphs disagree with the float32 bundle; nothing was written.
        OutputError: the bundle cannot be written (disk full, not writable, something else is there).
    """
    source, path = bundle if isinstance(bundle, Bundle) else Bundle(bundle), Path(output)
    _check(source, path, precision, settings)
    steps = Steps(progress, total=5)
    with staged(path, pack) as directory:
        steps.begin("running the bundle in ONNX Runtime")
        reference = _reference(source, samples)
        draft = _draft(source.manifest, precision)
        _write_float(source, directory)
        write_manifest(directory, draft)
        steps.begin("quantizing")
        draft = quantize_staged(directory, draft, settings, reference, steps.within)
        steps.begin("writing the graphs' variants")
        draft = write_manifest(directory, add_variants(directory, draft))
        steps.begin(f"verifying against {reference.name} in ONNX Runtime")
        verification = verify(directory, reference, precision)
        manifest = write_manifest(directory, replace(draft, verification=asdict(verification)))
        steps.begin("packing" if pack else "putting the bundle in place")
    return Exported(path, packed_path(path) if pack else None, manifest, verification)


def quantize_staged(
    directory: Path, draft: Manifest, settings: QuantizationSettings, reference: Reference, progress: Progress
) -> Manifest:
    """Quantizes a float32 bundle that is being written, in place.

    Args:
        directory: the bundle's folder: float32 graphs and a manifest that states the precision to come.
        draft: that manifest.
        settings: how.
        reference: what the result is to be verified against; a selection that would not pass is not chosen.
        progress: called as the work goes on.

    Returns:
        The manifest with what was done, which is in the folder now.

    Raises:
        UsageError, DatasetError: as for `quantize_in_place`.
    """
    agrees = partial(verifies, reference=reference, precision=draft.precision)
    kind = QUANT_TYPES[draft.precision]
    found = quantize_in_place(directory, settings, draft.kept_fp32, progress, agrees, kind)
    kept = {**draft.kept_fp32, **found.kept(draft.precision)}
    return write_manifest(directory, replace(draft, quantization=found, kept_fp32=kept))


def _check(source: Bundle, output: Path, precision: str, settings: QuantizationSettings) -> None:
    if precision not in QUANT_TYPES:
        raise UsageError(f"unknown precision {precision!r}: quantize to {' or '.join(QUANT_TYPES)}")
    found = source.manifest.precision
    if found != "fp32":
        raise UsageError(f"{source.source} is in {found}: quantize the float32 bundle (rsvl export --precision fp32)")
    if source.source.absolute() in (output.absolute(), packed_path(output.absolute())):
        raise UsageError(f"{output} is the bundle to quantize: choose another place with -o")
    settings.check(source.manifest.model.task, QUANT_TYPES[precision])


def _reference(source: Bundle, samples: Mapping[str, np.ndarray] | None) -> Reference:
    """What the float32 bundle gives for its golden test's inputs and for the samples."""
    spec, (golden, _) = source.manifest.model, read_golden(source)
    more = _synthetic(source) if samples is None else checked_samples(samples, spec)
    inputs = {name: np.concatenate([array, more[name]]) if more else array for name, array in golden.items()}
    count = len(next(iter(golden.values())))
    return Reference(source.source.name, run_bundle(source, inputs), sha256(source.root / MANIFEST), count)


def _synthetic(source: Bundle) -> dict[str, np.ndarray]:
    """Samples as an export has them; none where samples of an input cannot be made."""
    spec = source.manifest.model
    tokenizer = None if spec.text is None else source.path(spec.text.tokenizer).read_text(encoding="utf-8")
    try:
        return default_samples(spec, tokenizer)
    except InputError:
        return {}


def _draft(source: Manifest, precision: str) -> Manifest:
    """The new bundle's manifest before anything is measured: metrics of the float32 bundle do not hold for it."""
    made_by = {**source.versions, **versions("onnx", "onnxruntime", "numpy")}
    return replace(in_form(source), precision=precision, metrics={}, verification={}, versions=made_by)


def _write_float(source: Bundle, directory: Path) -> None:
    """Writes a copy of the float32 bundle, its convolutions in the form that can be quantized."""
    copy_without_graphs(source, directory)
    for graph in source.manifest.model.graphs:
        model = onnx.load_model(source.graph(graph))
        to_plain_convs(model)
        replace_graph(model, directory, graph)
