"""Accuracy against efficiency as a scatter plot, after CD2FSAN's Figure 9.

X axis: images per second or FLOPs; y axis: the paper's accuracy; area: FLOPs; colour: parameters. An axis never mixes
published figures with ours: if a row lacks a published one, the axis shows ours for all rows.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rsvl.benchmarks.papers.report import Row, Table
from rsvl.benchmarks.plot import check_drawable, save
from rsvl.runtime.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACCURACIES = {"oiou": "oIoU (%)", "miou": "mIoU (%)", "top1": "top-1 accuracy (%)", "f1": "F1 (%)"}
_LARGEST = 2600.0
"""Area of the largest marker in square points."""
_NAME_HEIGHT = 12.0
"""Of a marker's name, in points."""
_CAPTION = 110
"""Characters per line of the caption."""

Value = Callable[[Row], float | None]


@dataclass(frozen=True)
class Scale:
    """One of the plot's four scales: its label and the rows' values."""

    label: str
    values: list[float]


@dataclass(frozen=True)
class ScatterPlot:
    """What the plot shows; every list is in the order of `names`."""

    title: str
    measured_on: str
    names: list[str]
    x: Scale
    y: Scale
    area: Scale
    colour: Scale


def draw(table: Table, path: Path, x_axis: str | None = None, y_axis: str | None = None) -> list[str]:
    """Writes the plot.

    Args:
        table: the table; its speeds measured here, if it has them, are on the x axis.
        path: a .png or .svg file.
        x_axis: ``fps`` or ``flops``; by default images per second if all rows have them.
        y_axis: a key of `ACCURACIES`; by default the one that more rows have.

    Returns:
        Names of the rows in it.

    Raises:
        UsageError: another suffix, or nothing in the table to plot.
        MissingComponentError: Matplotlib is not installed.
        OutputError: the file cannot be written.
    """
    check_drawable(path)
    plot = arrange(table, x_axis, y_axis)
    save(_figure(plot), path)
    return plot.names


def arrange(table: Table, x_axis: str | None = None, y_axis: str | None = None) -> ScatterPlot:
    """The plot of a table; arguments and errors as for `draw`."""
    y_axis = y_axis or max(ACCURACIES, key=lambda name: sum(_accuracy(row, name) is not None for row in table.rows))
    rows = [row for row in table.rows if row.count is not None and _accuracy(row, y_axis) is not None]
    fps_label, fps = _speed(table)
    x_axis = x_axis or ("fps" if rows and all(fps(row) is not None for row in rows) else "flops")
    if x_axis == "fps":
        rows = [row for row in rows if fps(row) is not None]
    if not rows:
        raise UsageError(_nothing(table, y_axis))
    flops = _published_or_ours(rows, "FLOPs (G", lambda row: row.published.flops_g, lambda row: row.ours[1])
    parameters = _published_or_ours(
        rows, "parameters (M", lambda row: row.published.parameters_m, lambda row: row.ours[0]
    )
    return ScatterPlot(
        title=table.published.title,
        measured_on=table.published.accuracy,
        names=[row.published.name for row in rows],
        x=Scale(fps_label, _values(rows, fps)) if x_axis == "fps" else flops,
        y=Scale(ACCURACIES[y_axis], _values(rows, lambda row: _accuracy(row, y_axis))),
        area=flops,
        colour=parameters,
    )


def _accuracy(row: Row, name: str) -> float | None:
    return getattr(row.published, name)


def _speed(table: Table) -> tuple[str, Value]:
    """Images per second: measured here on the fastest runner, else as published."""
    speed = table.speed
    if speed is None:
        return "images per second (published)", lambda row: row.published.fps
    label = f"images per second, batch 1 (fastest runner on {speed.hardware})"
    return label, lambda row: max(speed.fps(row.published.name).values(), default=None)


def _published_or_ours(rows: Sequence[Row], label: str, published: Value, ours: Value) -> Scale:
    if all(published(row) is not None for row in rows):
        return Scale(f"{label}, published)", _values(rows, published))
    return Scale(f"{label}, counted here)", _values(rows, ours))


def _values(rows: Sequence[Row], value: Value) -> list[float]:
    return [found for row in rows if (found := value(row)) is not None]


def _nothing(table: Table, y_axis: str) -> str:
    name, ours = table.published.name, [row for row in table.rows if row.count is not None]
    if not any(_accuracy(row, each) is not None for row in ours for each in ACCURACIES):
        return f"{name} has no row with an accuracy to plot: choose another table (rsvl paper)"
    if not any(_accuracy(row, y_axis) is not None for row in ours):
        return f"{name} has no {ACCURACIES[y_axis]}: take the other --y-axis"
    return f"{name} has no speed beside its {ACCURACIES[y_axis]}: measure with --speed, or take --x-axis flops"


def _figure(plot: ScatterPlot) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5.4), layout="constrained")
    axes = figure.add_subplot()
    areas = [_LARGEST * value / max(plot.area.values) for value in plot.area.values]
    drawn = axes.scatter(
        plot.x.values,
        plot.y.values,
        s=areas,
        c=plot.colour.values,
        cmap="viridis",
        alpha=0.75,
        edgecolors="white",
        linewidths=1.5,
        zorder=2,
    )
    axes.margins(x=0.16, y=0.2)  # no marker and no name is cut off
    axes.set(title=plot.title, xlabel=plot.x.label, ylabel=plot.y.label)
    axes.grid(color="0.9", zorder=0)
    axes.spines[["top", "right"]].set_visible(False)
    figure.colorbar(drawn, label=plot.colour.label)
    caption = textwrap.fill(f"Area: {plot.area.label}. Accuracy: {plot.measured_on}.", _CAPTION, break_on_hyphens=False)
    figure.supxlabel(caption, fontsize="small", color="0.35")
    _name(figure, axes, plot, areas)
    return figure


def _name(figure: Figure, axes: Axes, plot: ScatterPlot, areas: Sequence[float]) -> None:
    """Each marker's name above it (below if another marker is above), and its FLOPs in it, dark on light."""
    low, high = min(plot.colour.values), max(plot.colour.values)
    radii = [math.sqrt(area / math.pi) for area in areas]
    places = list(zip(plot.x.values, plot.y.values, strict=True))
    below = _covered(figure, axes, places, radii)
    for number, place in enumerate(places):
        away = radii[number] + 3
        offset, side = ((0, -away), "top") if below[number] else ((0, away), "bottom")
        axes.annotate(plot.names[number], place, offset, textcoords="offset points", ha="center", va=side)
        light = plot.colour.values[number] > low + 0.6 * (high - low)
        text = f"{plot.area.values[number]:.0f}"
        axes.annotate(text, place, ha="center", va="center", color="black" if light else "white", fontsize="small")


def _covered(figure: Figure, axes: Axes, places: Sequence[tuple[float, float]], radii: Sequence[float]) -> list[bool]:
    """Whether another marker is where the name above each marker would be."""
    figure.draw_without_rendering()  # lays the plot out
    points = [tuple(axes.transData.transform(place) * 72 / figure.dpi) for place in places]

    def covers(other: int, own: int) -> bool:
        right, up = points[other][0] - points[own][0], points[other][1] - points[own][1]
        return other != own and up > 0 and math.hypot(right, up) < radii[own] + radii[other] + _NAME_HEIGHT

    return [any(covers(other, own) for other in range(len(points))) for own in range(len(points))]
