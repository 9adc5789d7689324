"""The papers' efficiency figures as data: one file of `tables/` a table or a set of quotations, each with its source.

A table has rows, a set of quotations has figures, and a file may have both. A row names the preset of ours that is the
same thing, or none where we have none; a figure says what of ours would be measured likewise.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

from rsvl.runtime.errors import UsageError

TOLERANCE = 0.03
"""A row is met when parameters and FLOPs are within this fraction of the published figures; otherwise it has a note. A
table may allow its FLOPs another fraction."""

Flops = Literal["layer multiply-adds", "multiply-adds", "layer operations", "operations"]


@dataclass(frozen=True)
class Published:
    """A row of a paper's table, and which of our models it is. What the paper does not print is None.

    Attributes:
        name: the row's name in the paper.
        model: a preset of the registry; none for a system that is not implemented here.
        ablation: one of the preset's `rsvl.registry.ablations`, or none for the preset itself.
        text_encoder: whether the figures have the text encoder in them.
        flops: what the paper's FLOPs are: multiply-adds or operations (two a multiply-add), of linear and convolution
            layers alone or of all products.
        parameters_m: parameters in millions.
        flops_g: FLOPs in billions.
        fps: images a second, on the paper's hardware.
        oiou, miou: accuracy in percent, on what the table's `accuracy` says.
        note: why ours differs, where it does by more than the tolerance, and what else the row needs said.
    """

    name: str
    model: str | None = None
    text_encoder: bool = True
    flops: Flops = "layer multiply-adds"
    parameters_m: float | None = None
    flops_g: float | None = None
    fps: float | None = None
    oiou: float | None = None
    miou: float | None = None
    ablation: str | None = None
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """A single figure that a text states.

    Attributes:
        system: what it is of.
        quantity: what was measured, such as ``latency``.
        published: the figure in the paper's words.
        value: the number.
        unit: of the number.
        of: what it holds for.
        counterpart: what of ours measures the same, or why nothing does.
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
        inputs: each input's size that it was counted for; an image's is height and width.
        counting: how its figures were read, and why so.
        hardware: what is known of its speeds.
        accuracy: what the rows' accuracies were measured on, and where the paper prints them.
        rows: its rows.
        figures: what the paper's text states besides.
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
    """Names of the tables that there are."""
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
