"""`rsvl export`: a model's bundle, verified against PyTorch."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rsvl.cli import options, quantizing
from rsvl.cli.console import print_json, print_note, print_table, progress

if TYPE_CHECKING:
    from rsvl.export import Exported


def export(
    context: typer.Context,
    model: options.Model,
    weights: options.Weights = None,
    encoder_weights: options.EncoderWeights = None,
    tokenizer: options.Tokenizer = None,
    fp16: Annotated[
        bool,
        typer.Option(
            "--fp16", help="Compute in half precision; what loses accuracy stays float32. Default: all float32."
        ),
    ] = False,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8", help="Compute in 8-bit integers as far as accuracy allows (docs/quantization.md); calibrated."
        ),
    ] = False,
    fp8: Annotated[
        bool,
        typer.Option(
            "--fp8", help="Compute in 8-bit floating point as far as accuracy allows, for GPUs since Ada; calibrated."
        ),
    ] = False,
    int8_weights: Annotated[
        bool, typer.Option("--int8-weights", help="Store weights in 8 bits and compute in float32: small, not faster.")
    ] = False,
    calibration: quantizing.Calibration = None,
    root: quantizing.Root = None,
    calibration_split: quantizing.CalibrationSplit = "train",
    calibration_images: quantizing.CalibrationImages = 64,
    calibrator: quantizing.Calibrator = quantizing.Method.MINMAX,
    max_drop: quantizing.MaxDrop = "1%",
    metric_split: quantizing.MetricSplit = "val",
    metric_images: quantizing.MetricImages = 60,
    metric: quantizing.MetricKind = quantizing.Metric.TASK,
    sensitivity: quantizing.Sensitivity = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The bundle's folder. Default: MODEL-PRECISION.bundle here.")
    ] = None,
    pack: Annotated[bool, typer.Option("--pack", help="Also write it as one file, OUTPUT.rsvl.")] = False,
    json: options.Json = False,
) -> None:
    """Write a model's bundle and verify it against PyTorch.

    A bundle that disagrees with PyTorch is not written.
    """
    asked = quantizing.Asked(
        calibration,
        root,
        calibration_split,
        calibration_images,
        calibrator,
        max_drop,
        metric_split,
        metric_images,
        metric,
        sensitivity,
    )
    precision = quantizing.precision(context, fp16, int8, fp8, int8_weights, asked)
    with progress("loading PyTorch") as report:
        from rsvl.export import export as write  # before all else: it names the extra that exporting needs

        report(0, 1, f"loading {model}")
        from rsvl.checkpoints import load

        network = load(model, weights, encoder_weights, tokenizer)
        path = output or Path(f"{network.spec.name}-{precision}.bundle")
        eight_bit = int8 or fp8 or int8_weights
        settings = quantizing.settings(asked, activations=not int8_weights) if eight_bit else None
        exported = write(
            network,
            path,
            precision,
            pack=pack,
            quantization=settings,
            progress=report,
        )
    if sensitivity is not None:
        quantizing.draw(exported.manifest, sensitivity)
    if json:
        print_json(_as_json(exported))
    else:
        _print(exported)


def _as_json(exported: Exported) -> dict[str, object]:
    manifest = exported.manifest
    return {
        "bundle": str(exported.path),
        "packed": str(exported.packed) if exported.packed else None,
        "bytes": _size(exported.path),
        "model": manifest.model.name,
        "precision": manifest.precision,
        "source": manifest.source,
        "kept_fp32": manifest.kept_fp32,
        "quantization": asdict(manifest.quantization) if manifest.quantization else None,
        "verification": asdict(exported.verification),
    }


def _print(exported: Exported) -> None:
    found, manifest = exported.verification, exported.manifest
    rows = [
        [name, f"{difference:.3g}", f"{found.largest_value[name]:.3g}"]
        for name, difference in found.largest_difference.items()
    ]
    print_table(
        ["output", "largest difference", "largest value"],
        rows,
        title=f"{found.inputs} inputs against {found.reference}",
    )
    for measure in found.measures:
        typer.echo(f"worst {measure}")
    if manifest.quantization is not None:
        quantizing.show(manifest.quantization, manifest.precision)
    for name, reason in manifest.kept_fp32.items() if manifest.precision != "fp32" else ():
        print_note(f"kept in float32: {name} ({reason})")
    for path in (exported.path, exported.packed):
        if path:
            typer.echo(f"{path}: {manifest.model.name} in {manifest.precision}, {_size(path) / 1e6:.1f} MB")


def _size(path: Path) -> int:
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())
