"""Lines of what grows with the image, as a Matplotlib figure of panels side by side, on logarithmic axes."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rsvl.benchmarks.plot import save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = ("#31688e", "#35b779", "#440154", "#b5651d", "#c23b75", "#e08214", "#7f7f7f", "#1b9e9e")
_CAPTION = 130
"""Characters per line of the caption."""

Curve = Mapping[int, float]
"""Values by the image's side in pixels."""


@dataclass(frozen=True)
class Panel:
    """One quantity.

    Attributes:
        label: of the y axis, with the unit.
        measured: curves by name.
        published: others' points by name, drawn as single markers.
    """

    label: str
    measured: Mapping[str, Curve]
    published: Mapping[str, Curve]


def draw(panels: Sequence[Panel], title: str, caption: str, path: Path) -> None:
    """Writes the figure; a curve has the same colour in every panel.

    Raises:
        OutputError: it cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 * len(panels), 5.2), layout="constrained")
    figure.suptitle(title)
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _panel(axes, panel)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    note = textwrap.fill(caption, _CAPTION, break_on_hyphens=False)
    style = {"ncols": 3, "fontsize": "small", "frameon": False, "title": note, "title_fontsize": 8}
    figure.legend(handles, labels, loc="outside lower center", **style)
    save(figure, path)


def _panel(axes: Axes, panel: Panel) -> None:
    for number, (name, curve) in enumerate(panel.measured.items()):
        sides = sorted(curve)
        colour = _COLOURS[number % len(_COLOURS)]
        axes.plot(sides, [curve[side] for side in sides], marker="o", color=colour, label=name)
    for marker, (name, curve) in zip("*X", panel.published.items(), strict=False):
        axes.plot(list(curve), list(curve.values()), marker, color="0.3", markersize=10, label=name)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    sides = sorted({side for curve in (*panel.measured.values(), *panel.published.values()) for side in curve})
    axes.set_xticks(sides, [f"{side}²" for side in sides])
    axes.set(xlabel="pixels of the image", ylabel=panel.label)
    axes.grid(color="0.9", zorder=0)
    axes.spines[["top", "right"]].set_visible(False)
