"""`rsvl export`: a model's bundle, verified against PyTorch."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from rsvl.cli import exported, options, quantize_options
from rsvl.cli.class_names import name_classes
from rsvl.cli.console import progress
from rsvl.cli.quantize_options import OPTIONS, QuantizeOptions, Target
from rsvl.cli.unused_options import refuse_unused
from rsvl.runtime.errors import UsageError


class Precision(str, Enum):
    """What a bundle computes in, without data to quantize it with."""

    FP32 = "fp32"
    FP16 = "fp16"


def export(
    context: typer.Context,
    model: options.Model,
    weights: options.Weights = None,
    encoder_weights: options.EncoderWeights = None,
    tokenizer: options.Tokenizer = None,
    ema: options.Ema = False,
    precision: Annotated[
        Precision | None,
        typer.Option("--precision", help="Compute in single or half precision. Default: fp32.", show_default=False),
    ] = None,
    fp16: Annotated[
        bool, typer.Option("--fp16", help="Short for --precision fp16; what loses accuracy stays float32.")
    ] = False,
    int8: Annotated[
        bool,
        typer.Option("--int8", help="Short for --precision fp32 and rsvl quantize --to int8; needs --calibration."),
    ] = False,
    fp8: Annotated[bool, typer.Option("--fp8", help="Likewise for rsvl quantize --to fp8.")] = False,
    int8_weights: Annotated[
        bool, typer.Option("--int8-weights", help="Likewise for rsvl quantize --to int8-weights.")
    ] = False,
    calibration: quantize_options.Calibration = None,
    root: quantize_options.Root = None,
    calibration_split: quantize_options.CalibrationSplit = "train",
    calibration_limit: quantize_options.CalibrationLimit = 64,
    calibrator: quantize_options.Calibrator = quantize_options.Method.MINMAX,
    max_drop: quantize_options.MaxDrop = "1%",
    metric_split: quantize_options.MetricSplit = "val",
    metric_limit: quantize_options.MetricLimit = 60,
    metric: quantize_options.MetricKind = quantize_options.Metric.TASK,
    sensitivity: quantize_options.Sensitivity = None,
    classes: Annotated[
        Path | None,
        typer.Option(
            "--classes",
            metavar="FILE",
            help="Class names of a scene classifier, one per line. Default: those saved with its weights.",
        ),
    ] = None,
    output: options.NewBundle = None,
    pack: options.Pack = False,
    json: options.Json = False,
) -> None:
    """Write a model's bundle and verify it against PyTorch.

    A bundle that disagrees with PyTorch is not written.
    """
    asked = QuantizeOptions(
        calibration,
        root,
        calibration_split,
        calibration_limit,
        calibrator,
        max_drop,
        metric_split,
        metric_limit,
        metric,
        sensitivity,
    )
    chosen = _chosen({"precision": precision, "fp16": fp16, "int8": int8, "fp8": fp8, "int8-weights": int8_weights})
    target = chosen if isinstance(chosen, Target) else None
    if target is None:
        refuse_unused(context, OPTIONS, "is for 8 bits: add --int8, --fp8 or --int8-weights")
    else:
        asked.check(context, target, "--")
    written_in = chosen.value if target is None else target.precision
    with progress("loading PyTorch") as report:
        from rsvl.export import export as write  # before all else: it names the extra that exporting needs

        report(0, 1, f"loading {model}")
        from rsvl.checkpoints import load

        network = load(model, weights, encoder_weights, tokenizer, ema)
        name_classes(network, classes)
        path = output or Path(f"{network.spec.name}-{written_in}.bundle")
        settings = None if target is None else asked.settings(target)
        found = write(network, path, written_in, pack=pack, quantization=settings, progress=report)
    if sensitivity is not None:
        quantize_options.draw(found.manifest, sensitivity)
    exported.show(found, json)


def _chosen(options: dict[str, Precision | bool | None]) -> Precision | Target:
    """What the bundle will compute in, by the one of the options that was given; fp32 where none was.

    Raises:
        UsageError: several were given.
    """
    given = {name: value for name, value in options.items() if value}
    if len(given) > 1:
        raise UsageError(f"{' and '.join(f'--{name}' for name in given)}: choose one")
    for name, value in given.items():
        if isinstance(value, Precision):
            return value
        return Precision.FP16 if name == "fp16" else Target(name)
    return Precision.FP32
