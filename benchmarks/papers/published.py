"""The papers' efficiency figures as data: one file in `tables/` per table or set of quotations, with its source.

A table has rows, a set of quotations has figures, and a file may have both. A row names our preset of the same model,
or none if there is none; a figure says which of our measurements would compare.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

from rsvl.runtime.errors import UsageError

TOLERANCE = 0.03
"""A row is met if parameters and FLOPs are within this fraction of the published ones; otherwise it has a note. A table
may set another fraction for its FLOPs."""

Flops = Literal["layer MACs", "MACs", "layer operations", "operations"]


@dataclass(frozen=True)
class Published:
    """A row of a paper's table, and which of our models it is. What the paper does not print is None.

    Attributes:
        name: the row's name in the paper.
        model: a preset of the registry; none if the system is not implemented here.
        ablation: one of the preset's `rsvl.registry.ablations`; none for the preset itself.
        text_encoder: whether the figures include the text encoder.
        flops: what the paper counts as FLOPs: MACs or operations (two per MAC), of linear and convolution layers alone
            or of all products.
        parameters_m: parameters in millions.
        flops_g: FLOPs in billions.
        fps: images per second on the paper's hardware.
        oiou, miou, top1, f1: accuracy in percent on the data that the table's `accuracy` names.
        note: why ours differs by more than the tolerance, and other remarks on the row.
    """

    name: str
    model: str | None = None
    text_encoder: bool = True
    flops: Flops = "layer MACs"
    parameters_m: float | None = None
    flops_g: float | None = None
    fps: float | None = None
    oiou: float | None = None
    miou: float | None = None
    top1: float | None = None
    f1: float | None = None
    ablation: str | None = None
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """A single figure that a text states.

    Attributes:
        system: the system that it describes.
        quantity: what was measured, such as ``latency``.
        published: the figure in the paper's words.
        value: the number.
        unit: of the number.
        of: what it holds for.
        counterpart: our comparable measurement, or why there is none.
    """

    system: str
    quantity: str
    published: str
    value: float
    unit: str
    of: str
    counterpart: str


@dataclass(frozen=True)
class PublishedTable:
    """A file of `tables/`.

    Attributes:
        name: the name that `rsvl paper` takes.
        title: what the paper calls it.
        source: paper and table.
        inputs: the input sizes that it is counted for; height and width for an image.
        counting: how its figures are read, and why.
        hardware: what is known about its speeds.
        accuracy: the data of the rows' accuracies, and where the paper prints them.
        rows: its rows.
        figures: further figures in the paper's text.
        flops_tolerance: how far our FLOPs may be from the published ones; `TOLERANCE` for parameters.
    """

    name: str
    title: str
    source: str
    counting: str
    inputs: dict[str, Any]
    hardware: str = ""
    accuracy: str = ""
    rows: tuple[Published, ...] = ()
    figures: tuple[Figure, ...] = ()
    flops_tolerance: float = TOLERANCE


def tables() -> list[str]:
    """Names of all tables."""
    files = resources.files("rsvl.benchmarks.papers").joinpath("tables").iterdir()
    return sorted(file.name.removesuffix(".json") for file in files if file.name.endswith(".json"))


def read(name: str) -> PublishedTable:
    """Reads a table as published.

    Raises:
        UsageError: no such table.
    """
    if name not in tables():
        raise UsageError(f"no table {name!r}: choose one of {', '.join(tables())}")
    text = (
        resources.files("rsvl.benchmarks.papers")
        .joinpath("tables")
        .joinpath(f"{name}.json")
        .read_text(encoding="utf-8")
    )
    data = json.loads(text)
    rows = tuple(Published(**row) for row in data.pop("rows", ()))
    figures = tuple(Figure(**figure) for figure in data.pop("figures", ()))
    return PublishedTable(name=name, **data, rows=rows, figures=figures)
