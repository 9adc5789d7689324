"""What `rsvl export` takes for int8 and fp8, and how it shows what was chosen."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rsvl.cli.console import print_table
from rsvl.cli.outputs import check_folders
from rsvl.cli.unused_options import refuse_given
from rsvl.runtime.errors import UsageError

if TYPE_CHECKING:
    from rsvl.export import QuantizationSettings
    from rsvl.runtime.manifest import Manifest
    from rsvl.runtime.quantization import Quantization


class Method(str, Enum):
    """How an activation's range follows from the values that were seen."""

    ENTROPY = "entropy"
    PERCENTILE = "percentile"
    MINMAX = "minmax"


class Metric(str, Enum):
    """What may drop."""

    TASK = "task"
    AGREEMENT = "agreement"


Calibration = Annotated[
    str | None,
    typer.Option("--calibration", help="Data set to calibrate with and to measure on: rrsis-d …"),
]
Root = Annotated[Path | None, typer.Option("--root", help="Folder that holds the data set's files as published.")]
CalibrationSplit = Annotated[str, typer.Option("--calibration-split", help="Split to calibrate with.")]
CalibrationImages = Annotated[int, typer.Option("--calibration-images", min=1, help="The first so many of its images.")]
Calibrator = Annotated[
    Method, typer.Option("--calibrator", help="How an activation's range follows from the values that were seen.")
]
MaxDrop = Annotated[
    str,
    typer.Option(
        "--max-drop",
        help="How much the task's figure may drop: 1% of that in float32 (MLPerf's 99 %), 0.1%, or 0.5 points.",
    ),
]
MetricSplit = Annotated[str, typer.Option("--metric-split", help="Split to measure the drop on; it needs labels.")]
MetricImages = Annotated[
    int, typer.Option("--metric-images", min=0, help="The first so many of its images; 0: without measuring.")
]
MetricKind = Annotated[
    Metric,
    typer.Option(
        "--metric",
        help="What may drop: the task's own figure, or the answers' agreement with float32 (for untrained weights).",
    ),
]
Sensitivity = Annotated[
    Path | None,
    typer.Option("--sensitivity", help="Measure what each part costs alone, even where all fits, and draw it here."),
]


@dataclass(frozen=True)
class Asked:
    """The options, as they were given."""

    calibration: str | None
    root: Path | None
    calibration_split: str
    calibration_images: int
    calibrator: Method
    max_drop: str
    metric_split: str
    metric_images: int
    metric: Metric
    sensitivity: Path | None


_OPTIONS = {field.name for field in fields(Asked)}
_OF_RANGES = {"calibration_split", "calibration_images", "calibrator"}


def precision(context: typer.Context, fp16: bool, int8: bool, fp8: bool, int8_weights: bool, asked: Asked) -> str:
    """The precision that the options name; finds before all work what does not fit together.

    Args:
        context: of `rsvl export`, whose parameters are called as the fields of `Asked` are.
        fp16: whether half precision was asked for.
        int8: whether int8 was.
        fp8: whether fp8 was.
        int8_weights: whether int8 of weights alone was.
        asked: the options of 8 bits.

    Raises:
        UsageError: two precisions, or options of 8 bits that are missing or have nothing to do.
        MissingComponentError: a picture is wanted and Matplotlib is not installed.
        OutputError: the picture's folder is not there.
    """
    from rsvl.metrics.drop import Drop

    if fp16 + int8 + fp8 + int8_weights > 1:
        raise UsageError("--fp16, --int8, --fp8 and --int8-weights: choose one")
    if not (int8 or fp8 or int8_weights):
        refuse_given(context, _OPTIONS, "is for 8 bits: add --int8, --fp8 or --int8-weights")
        return "fp16" if fp16 else "fp32"
    if not (int8_weights or asked.calibration):
        said = "--fp8" if fp8 else "--int8"
        raise UsageError(f"{said} is calibrated: add --calibration DATA --root R, or take --int8-weights")
    if fp8:
        refuse_given(context, {"calibrator"}, "is for int8: fp8 takes the largest number seen")
    if int8_weights:
        refuse_given(context, _OF_RANGES, "is for ranges, of which --int8-weights needs none: leave it out")
    if not asked.calibration:
        refuse_given(context, _OPTIONS - {"sensitivity"}, "has no data to go with: add --calibration DATA --root R")
    if asked.calibration and asked.root is None:
        raise UsageError(f"--calibration {asked.calibration} needs --root, the folder of its files")
    Drop.parse(asked.max_drop, "--max-drop")
    if asked.sensitivity is not None:
        _check_picture(asked)
    return "fp8" if fp8 else "int8"


def settings(asked: Asked, activations: bool) -> QuantizationSettings:
    """What is asked, for the export."""
    from rsvl.export import Images, QuantizationSettings
    from rsvl.metrics.drop import Drop

    calibration = labelled = None
    if asked.calibration is not None and asked.root is not None:
        if activations:
            about = (asked.calibration, asked.root, asked.calibration_split)
            calibration = Images(*about, asked.calibration_images)
        if asked.metric_images:
            labelled = Images(asked.calibration, asked.root, asked.metric_split, asked.metric_images)
    drop = Drop.parse(asked.max_drop, "--max-drop")
    by_agreement = asked.metric is Metric.AGREEMENT
    sensitivity = asked.sensitivity is not None
    return QuantizationSettings(calibration, labelled, asked.calibrator.value, drop, sensitivity, by_agreement)


def draw(manifest: Manifest, path: Path) -> None:
    """Draws what each part costs."""
    from rsvl.benchmarks.sensitivity import draw as drawn

    assert manifest.quantization is not None
    drawn(manifest.model.name, manifest.quantization, path)


def show(found: Quantization, precision: str) -> None:
    """Prints a model's parts, what each costs alone in a precision where that was measured, and what was chosen."""
    measured = any(group.drop is not None for group in found.groups)
    columns = ["part", "layers", found.measured_by, *([f"{found.figure} lost alone"] if measured else []), precision]
    rows = [
        [
            group.name,
            str(group.layers),
            f"{share:.1%}",
            *([f"{group.drop:+.4f}" if group.drop is not None else "–"] if measured else []),
            "yes" if group.quantized else "no",
        ]
        for group, share in zip(found.groups, found.shares, strict=True)
    ]
    print_table(columns, rows, title=f"{found.share:.1%} of the layers' {found.measured_by} in {precision}")
    if found.baseline is not None and found.value is not None and found.measured_on is not None:
        on = f"{found.measured_on.images} images of {found.measured_on.data} {found.measured_on.split}"
        allowed = found.baseline - (found.allowed_drop or 0.0)
        figures = f"{found.value:.4f}, in float32 {found.baseline:.4f}, at least {allowed:.4f} allowed"
        typer.echo(f"{found.figure} {figures} ({on})")


def _check_picture(asked: Asked) -> None:
    from rsvl.benchmarks.plot import check_drawable

    assert asked.sensitivity is not None
    if not (asked.calibration and asked.metric_images):
        raise UsageError("--sensitivity measures on labelled images: add --calibration DATA --root R, --metric-images")
    check_drawable(asked.sensitivity)
    check_folders(asked.sensitivity)
