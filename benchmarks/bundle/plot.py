"""The results of `rsvl bench BUNDLE` as a plot: latency by runner, stages of a question, throughput by batch size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rsvl.benchmarks.bundle.report import BundleSpeed
from rsvl.benchmarks.plot import save
from rsvl.benchmarks.timing import Percentiles

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_OWN, _OTHERS = "#31688e", "#b5b5b5"


def draw(found: BundleSpeed, path: Path) -> None:
    """Writes the plot; errors as for `rsvl.benchmarks.plot.save`."""
    from matplotlib.figure import Figure

    known = {_runners: found.runners, _stages: found.stages, _throughput: found.throughput}
    panels = [panel for panel, values in known.items() if values]
    figure = Figure(figsize=(9, 3 * len(panels)), layout="constrained")
    figure.suptitle(f"{found.model}, {found.precision}, on {found.hardware}")
    for axes, panel in zip(figure.subplots(len(panels), squeeze=False)[:, 0], panels, strict=True):
        panel(axes, found)
        axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)


def _runners(axes: Axes, found: BundleSpeed) -> None:
    times = {runner.name: runner.ms for runner in found.runners}
    colours = [_OWN] + [_OTHERS] * (len(times) - 1)
    _bars(axes, times, colours)
    axes.set_title("latency at batch 1: p50, p90 and p99", loc="left", fontsize="medium")


def _stages(axes: Axes, found: BundleSpeed) -> None:
    _bars(axes, found.stages, [_OWN] * len(found.stages))
    axes.set_title("one new sentence about one new image, by stage", loc="left", fontsize="medium")


def _bars(axes: Axes, times: dict[str, Percentiles], colours: list[str]) -> None:
    """A bar per name from top to bottom, as long as the median; a thin line to p99, a mark at p90."""
    names = list(times)
    longest = max(each.p99 for each in times.values())
    for row, name in enumerate(names):
        each = times[name]
        axes.barh(row, each.p50, height=0.6, color=colours[row])
        axes.plot([each.p50, each.p99], [row, row], color="0.2", linewidth=1)
        axes.plot([each.p90, each.p99], [row, row], color="0.2", linestyle="", marker="|")
        axes.text(each.p99 + 0.01 * longest, row, f"{each.p50:.3g}", va="center", fontsize="small")
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.1 * longest), xlabel="milliseconds")


def _throughput(axes: Axes, found: BundleSpeed) -> None:
    batches, rates = list(found.throughput), list(found.throughput.values())
    axes.plot(batches, rates, marker="o", color=_OWN)
    axes.set_xticks(batches)
    axes.set_ylim(0, 1.15 * max(rates))
    axes.set(xlabel="batch", ylabel="samples per second")
    axes.set_title("throughput", loc="left", fontsize="medium")
