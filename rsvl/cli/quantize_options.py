"""What `rsvl quantize` and `rsvl export --int8` take for 8 bits, and how they show what was chosen."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rsvl.cli import completion
from rsvl.cli.console import print_line, print_table
from rsvl.cli.outputs import check_folders
from rsvl.cli.unused_options import refuse_unused
from rsvl.runtime.errors import UsageError

if TYPE_CHECKING:
    from rsvl.export import QuantizationSettings
    from rsvl.runtime.manifest import Manifest
    from rsvl.runtime.quantization import Quantization


class Target(str, Enum):
    """What a bundle is quantized to."""

    INT8 = "int8"
    FP8 = "fp8"
    INT8_WEIGHTS = "int8-weights"

    @property
    def precision(self) -> str:
        """The precision of the bundle."""
        return "fp8" if self is Target.FP8 else "int8"


class Method(str, Enum):
    """How an activation's range follows from the values that were seen."""

    ENTROPY = "entropy"
    PERCENTILE = "percentile"
    MINMAX = "minmax"


class Metric(str, Enum):
    """What may drop."""

    TASK = "task"
    AGREEMENT = "agreement"


_PANEL = "Quantization"

Calibration = Annotated[
    str | None,
    typer.Option(
        "--calibration",
        metavar="DATASET",
        help="Dataset to calibrate with and to measure on: rrsis-d …",
        autocompletion=completion.datasets,
        rich_help_panel=_PANEL,
    ),
]
Root = Annotated[
    Path | None,
    typer.Option("--root", metavar="DIR", help="Folder of the dataset's files as published.", rich_help_panel=_PANEL),
]
CalibrationSplit = Annotated[
    str,
    typer.Option("--calibration-split", metavar="SPLIT", help="Split to calibrate with.", rich_help_panel=_PANEL),
]
CalibrationLimit = Annotated[
    int,
    typer.Option(
        "--calibration-limit", metavar="N", min=1, help="Calibrate with at most N images.", rich_help_panel=_PANEL
    ),
]
Calibrator = Annotated[
    Method,
    typer.Option(
        "--calibrator",
        help="How an activation's range follows from the values that were seen.",
        rich_help_panel=_PANEL,
    ),
]
MaxDrop = Annotated[
    str,
    typer.Option(
        "--max-drop",
        metavar="DROP",
        help="How much the metric may drop: 1% of that in float32 (MLPerf's 99 %), 0.1%, or 0.5 points.",
        rich_help_panel=_PANEL,
    ),
]
MetricSplit = Annotated[
    str,
    typer.Option(
        "--metric-split",
        metavar="SPLIT",
        help="Split to measure the drop on; it needs labels.",
        rich_help_panel=_PANEL,
    ),
]
MetricLimit = Annotated[
    int,
    typer.Option(
        "--metric-limit",
        metavar="N",
        min=0,
        help="Measure on at most N images; 0: do not measure.",
        rich_help_panel=_PANEL,
    ),
]
MetricKind = Annotated[
    Metric,
    typer.Option(
        "--metric",
        help="What may drop: the task's primary metric, or the answers' agreement with float32 (for untrained "
        "weights).",
        rich_help_panel=_PANEL,
    ),
]
Sensitivity = Annotated[
    Path | None,
    typer.Option(
        "--sensitivity",
        metavar="FILE",
        help="Measure what each part costs alone, even where everything fits, and plot it: a .png or .svg file.",
        rich_help_panel=_PANEL,
    ),
]


@dataclass(frozen=True)
class QuantizeOptions:
    """The options as they were given; a command's parameters have the names of these fields."""

    calibration: str | None
    root: Path | None
    calibration_split: str
    calibration_limit: int
    calibrator: Method
    max_drop: str
    metric_split: str
    metric_limit: int
    metric: Metric
    sensitivity: Path | None

    def check(self, context: typer.Context, target: Target, spelled: str) -> None:
        """Finds before all work what does not fit together.

        Args:
            context: the command's.
            target: what the bundle is quantized to.
            spelled: the option that says so, up to the target's name: ``--`` or ``--to ``.

        Raises:
            UsageError: options that are missing or have no effect.
            MissingComponentError: a plot is wanted and Matplotlib is not installed.
            OutputError: the plot's folder is not there.
        """
        from rsvl.metrics.drop import Drop

        weights = f"{spelled}{Target.INT8_WEIGHTS.value}"
        if target is not Target.INT8_WEIGHTS and not self.calibration:
            raise UsageError(
                f"{spelled}{target.value} is calibrated: add --calibration DATASET --root DIR, or take {weights}"
            )
        if target is Target.FP8:
            refuse_unused(context, {"calibrator"}, "is for int8: fp8 takes the largest number seen")
        if target is Target.INT8_WEIGHTS:
            refuse_unused(context, _OF_RANGES, f"is for ranges, of which {weights} needs none: leave it out")
        if not self.calibration:
            refuse_unused(context, OPTIONS - {"sensitivity"}, "has no data: add --calibration DATASET --root DIR")
        if self.calibration and self.root is None:
            raise UsageError(f"--calibration {self.calibration} needs --root, the folder of its files")
        Drop.parse(self.max_drop, "--max-drop")
        if self.sensitivity is not None:
            self._check_plot(self.sensitivity)

    def settings(self, target: Target) -> QuantizationSettings:
        """The same for `rsvl.export`."""
        from rsvl.export import Images, QuantizationSettings
        from rsvl.metrics.drop import Drop

        calibration = labelled = None
        if self.calibration is not None and self.root is not None:
            if target is not Target.INT8_WEIGHTS:
                calibration = Images(self.calibration, self.root, self.calibration_split, self.calibration_limit)
            if self.metric_limit:
                labelled = Images(self.calibration, self.root, self.metric_split, self.metric_limit)
        drop = Drop.parse(self.max_drop, "--max-drop")
        by_agreement = self.metric is Metric.AGREEMENT
        sensitivity = self.sensitivity is not None
        return QuantizationSettings(calibration, labelled, self.calibrator.value, drop, sensitivity, by_agreement)

    def _check_plot(self, path: Path) -> None:
        from rsvl.benchmarks.plot import check_drawable

        if not (self.calibration and self.metric_limit):
            raise UsageError(
                "--sensitivity measures on labelled images: add --calibration DATASET --root DIR, --metric-limit"
            )
        check_drawable(path)
        check_folders(path)


OPTIONS = frozenset(field.name for field in fields(QuantizeOptions))
_OF_RANGES = {"calibration_split", "calibration_limit", "calibrator"}


def draw(manifest: Manifest, path: Path) -> None:
    """Plots what each part costs."""
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
        print_line(f"{found.figure} {figures} ({on})")
