"""A plot of what each part of a model costs in 8 bits."""

from __future__ import annotations

from pathlib import Path

from rsvl.benchmarks.plot import save
from rsvl.runtime.quantization import Quantization

_QUANTIZED, _FLOAT = "#31688e", "#b5b5b5"


def draw(model: str, found: Quantization, path: Path) -> None:
    """Plots two bars per part: its share of the arithmetic, and its drop when quantized alone; gray stays float.

    Args:
        model: the model's name.
        found: the measurements, each part quantized alone.
        path: a ``.png`` or ``.svg`` file.

    Raises:
        OutputError: it cannot be written.
    """
    from matplotlib.figure import Figure

    groups = found.groups
    drops = [100 * (group.drop or 0.0) for group in groups]
    colours = [_QUANTIZED if group.quantized else _FLOAT for group in groups]
    figure = Figure(figsize=(10, 1.6 + 0.32 * len(groups)), layout="constrained")
    figure.suptitle(f"{model}: what each part costs alone in 8 bits (blue: chosen, gray: stays float32)")
    left, right = figure.subplots(1, 2, sharey=True)
    rows = range(len(groups))
    left.barh(rows, [100 * share for share in found.shares], color=colours)
    left.set_yticks(rows, [group.name for group in groups])
    left.invert_yaxis()
    left.set_xlabel(f"% of the layers' {found.measured_by}")
    right.barh(rows, drops, color=colours)
    right.axvline(0, color="0.2", linewidth=0.8)
    if found.allowed_drop is not None:
        right.axvline(100 * found.allowed_drop, color="0.2", linestyle=":", label="allowed for the whole")
        right.legend(frameon=False, fontsize="small")
    right.set_xlabel(f"points of {found.figure} lost")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)
