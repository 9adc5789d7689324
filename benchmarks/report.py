"""A paper's table beside ours: published | ours | ratio, with what was counted and how."""

from __future__ import annotations

import importlib
import json
from dataclasses import asdict, dataclass
from functools import partial
from importlib import resources
from typing import Any, Literal

from rsvl.benchmarks.count import Count, ModelCount, MultiplyAdds, count
from rsvl.benchmarks.markdown import markdown_table
from rsvl.registry import entry
from rsvl.runtime.errors import UsageError

TOLERANCE = 0.03
"""A row is met when parameters and FLOPs are within this fraction of the published figures; otherwise it has a note. A
table may allow its FLOPs another fraction."""

Flops = Literal["layer multiply-adds", "multiply-adds", "layer operations", "operations"]


@dataclass(frozen=True)
class Published:
    """A row of a paper's table, and which of our models it is.

    Attributes:
        name: the row's name in the paper.
        model: a preset of the registry.
        ablation: a key of the `ablations()` of that preset's file, or none for the preset itself.
        text_encoder: whether the figures have the text encoder in them.
        flops: what the paper's FLOPs are: multiply-adds or operations (two a multiply-add), of linear and convolution
            layers alone or of all products.
        parameters_m: parameters in millions.
        flops_g: FLOPs in billions.
        fps: images a second, on the paper's hardware.
        note: why ours differs, where it does by more than the tolerance, and what else the row needs said.
    """

    name: str
    model: str
    text_encoder: bool
    flops: Flops
    parameters_m: float
    flops_g: float
    fps: float | None = None
    ablation: str | None = None
    note: str = ""


@dataclass(frozen=True)
class Row:
    """A published row and what we count; every convention is there, whichever the paper uses."""

    published: Published
    count: ModelCount
    flops_tolerance: float = TOLERANCE

    @property
    def without_text(self) -> Count:
        """Ours without the text encoder."""
        return self.count.total - self.count.modules["text_encoder"]

    @property
    def ours(self) -> tuple[float, float]:
        """Parameters in millions and FLOPs in billions, counted as the published ones are."""
        counted = self.count.total if self.published.text_encoder else self.without_text
        products = counted.multiply_adds
        flops = {
            "layer multiply-adds": products.layers,
            "multiply-adds": products.total,
            "layer operations": 2 * products.layers,
            "operations": products.operations,
        }[self.published.flops]
        return counted.parameters / 1e6, flops / 1e9

    @property
    def ratios(self) -> tuple[float, float]:
        """Ours divided by the published: parameters, FLOPs."""
        return self.ours[0] / self.published.parameters_m, self.ours[1] / self.published.flops_g

    @property
    def met(self) -> bool:
        """Whether both are within their tolerances."""
        by_parameters, by_flops = self.ratios
        return abs(by_parameters - 1) <= TOLERANCE and abs(by_flops - 1) <= self.flops_tolerance


@dataclass(frozen=True)
class Table:
    """A published table beside ours.

    Attributes:
        name: the name that `rsvl bench --table` takes.
        title: what the paper calls it.
        source: paper and table.
        inputs: the sizes that it was counted for.
        counting: how its figures were read, and why so.
        hardware: what is known of its speeds.
        rows: its rows.
        flops_tolerance: how far our FLOPs may be from the published ones; `TOLERANCE` for parameters.
    """

    name: str
    title: str
    source: str
    inputs: dict[str, Any]
    counting: str
    hardware: str
    rows: tuple[Row, ...]
    flops_tolerance: float = TOLERANCE

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        head = {key: value for key, value in vars(self).items() if key != "rows"}
        return {**head, "tolerance": TOLERANCE, "rows": [_row_dict(row) for row in self.rows]}

    def to_markdown(self) -> str:
        """The table, ours in every convention, and the last row's parts and graphs."""
        last = self.rows[-1]
        total = last.count.total.multiply_adds.total
        parts = [_part(name, part) for name, part in last.count.parts().items() if part.parameters]
        graphs = [_graph(name, adds, total) for name, adds in last.count.graphs.items()]
        size = "×".join(str(side) for side in self.inputs["image"])
        sections = [
            f"# {self.title}",
            f"{self.source}.",
            f"Inputs: image {size}, {self.inputs['tokens']} tokens. {self.hardware}.",
            self.counting,
            "## Published and ours",
            markdown_table(_COMPARISON, map(_comparison, self.rows)),
            *(f"{row.published.name}: {row.published.note}" for row in self.rows if row.published.note),
            "## Ours in every convention",
            markdown_table(_CONVENTIONS, map(_conventions, self.rows)),
            f"## {last.published.name}: by module",
            markdown_table(_PARTS, parts),
            f"## {last.published.name}: by graph",
            markdown_table(_GRAPHS, graphs),
        ]
        return "\n\n".join(sections) + "\n"


def tables() -> list[str]:
    """Names of the tables that there are."""
    files = resources.files("rsvl.benchmarks").joinpath("tables").iterdir()
    return sorted(file.name.removesuffix(".json") for file in files if file.name.endswith(".json"))


def table(name: str) -> Table:
    """Counts the models of a published table; takes some seconds.

    Raises:
        UsageError: no such table.
    """
    if name not in tables():
        raise UsageError(f"no table {name!r}: choose one of {', '.join(tables())}")
    text = resources.files("rsvl.benchmarks").joinpath("tables", f"{name}.json").read_text(encoding="utf-8")
    data = json.loads(text)
    rows = (Published(**row) for row in data.pop("rows"))
    tolerance = data.get("flops_tolerance", TOLERANCE)
    return Table(name=name, **data, rows=tuple(Row(row, _count(row), tolerance) for row in rows))


def _count(row: Published) -> ModelCount:
    found = entry(row.model)
    preset = found.preset
    if row.ablation is not None:
        preset = importlib.import_module(found.build.__module__).ablations()[row.ablation]
    return count(partial(found.build, row.model, preset))


_COMPARISON = [
    "row",
    "text encoder",
    "params (M): published",
    "ours",
    "ratio",
    "FLOPs (G): published",
    "ours",
    "ratio",
    "counted as",
    "FPS published",
]
_CONVENTIONS = [
    "row",
    "params (M): with text encoder",
    "without",
    "multiply-adds of layers (G)",
    "of all products (G)",
    "operations of layers (G)",
    "of all products (G)",
    "the four without text encoder (G)",
]
_PARTS = ["part", "params (M)", "multiply-adds of layers (G)", "attention products (G)", "operations (G)"]
_GRAPHS = ["graph", "multiply-adds of layers (G)", "attention products (G)", "part of all products"]


def _comparison(row: Row) -> list[str]:
    published, (parameters, flops), (by_parameters, by_flops) = row.published, row.ours, row.ratios
    return [
        published.name,
        "with" if published.text_encoder else "without",
        f"{published.parameters_m:.2f}",
        f"{parameters:.2f}",
        f"{by_parameters:.3f}",
        f"{published.flops_g:.2f}",
        f"{flops:.2f}",
        f"{by_flops:.3f}",
        published.flops,
        "–" if published.fps is None else f"{published.fps:.2f}",
    ]


def _conventions(row: Row) -> list[str]:
    def four(counted: Count) -> list[str]:
        adds = counted.multiply_adds
        return [_g(adds.layers), _g(adds.total), _g(2 * adds.layers), _g(adds.operations)]

    total, without = row.count.total, row.without_text
    parameters = [f"{counted.parameters / 1e6:.2f}" for counted in (total, without)]
    return [row.published.name, *parameters, *four(total), " / ".join(four(without))]


def _part(name: str, part: Count) -> list[str]:
    adds = part.multiply_adds
    return [name, f"{part.parameters / 1e6:.3f}", _g(adds.layers), _g(adds.attention), _g(adds.operations)]


def _graph(name: str, adds: MultiplyAdds, total: int) -> list[str]:
    return [name, _g(adds.layers), _g(adds.attention), f"{adds.total / total:.1%}"]


def _row_dict(row: Row) -> dict[str, Any]:
    (parameters, flops), (by_parameters, by_flops) = row.ours, row.ratios
    return {
        "published": asdict(row.published),
        "ours": {"parameters_m": parameters, "flops_g": flops},
        "ratio": {"parameters": by_parameters, "flops": by_flops},
        "met": row.met,
        "with_text_encoder": _count_dict(row.count.total),
        "without_text_encoder": _count_dict(row.without_text),
        "parts": {name: _count_dict(part) for name, part in row.count.parts().items()},
        "graphs": {name: {**asdict(adds), "operations": adds.operations} for name, adds in row.count.graphs.items()},
    }


def _count_dict(counted: Count) -> dict[str, int]:
    adds = counted.multiply_adds
    return {
        "parameters": counted.parameters,
        "layer_multiply_adds": adds.layers,
        "attention_multiply_adds": adds.attention,
        "operations": adds.operations,
    }


def _g(products: int) -> str:
    return f"{products / 1e9:.2f}"
