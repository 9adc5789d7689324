"""`rsvl quantize`: a verified float32 bundle in 8 bits, without PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rsvl.cli import exported, options, quantize_options
from rsvl.cli.console import progress
from rsvl.cli.quantize_options import QuantizeOptions, Target


def quantize(
    context: typer.Context,
    bundle: options.Bundle,
    to: Annotated[
        Target,
        typer.Option(
            "--to",
            help="int8: compute in 8-bit integers as far as accuracy allows. fp8: in 8-bit floating point, for GPUs "
            "since Ada. int8-weights: store weights in 8 bits and compute in float32; small, not faster.",
        ),
    ],
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
    output: options.NewBundle = None,
    pack: options.Pack = False,
    json: options.Json = False,
) -> None:
    """Write a float32 bundle in 8 bits, without PyTorch.

    It is verified against the float32 bundle; one that disagrees is not written.
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
    asked.check(context, to, "--to ")
    with progress(f"loading {bundle}") as report:
        from rsvl.runtime.bundle import Bundle

        opened = Bundle(bundle)
        from rsvl.export import quantize as write

        path = output or Path(f"{opened.manifest.model.name}-{to.precision}.bundle")
        found = write(opened, path, to.precision, asked.settings(to), pack=pack, progress=report)
    if sensitivity is not None:
        quantize_options.draw(found.manifest, sensitivity)
    exported.show(found, json)
