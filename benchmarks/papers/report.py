"""A paper's table beside ours: published, ours, ratio; the counting conventions, and the speed measured here."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache, cached_property, partial
from typing import Any

from rsvl.benchmarks.count import Count, Macs, ModelCount, count
from rsvl.benchmarks.papers.published import TOLERANCE, Published, PublishedTable, read
from rsvl.benchmarks.papers.report_markdown import markdown
from rsvl.benchmarks.papers.speed_record import TableSpeed
from rsvl.registry import create


@dataclass(frozen=True)
class Row:
    """A published row and our count, in every convention.

    Attributes:
        published: as the paper has it.
        count: ours; None if the system is not implemented here.
        flops_tolerance: how far our FLOPs may be from the published ones.
    """

    published: Published
    count: ModelCount | None
    flops_tolerance: float = TOLERANCE

    @cached_property
    def without_text(self) -> Count | None:
        """Ours without the text encoder, if it has one."""
        if self.count is None or "text_encoder" not in self.count.modules:
            return None if self.count is None else self.count.total
        return self.count.total - self.count.modules["text_encoder"]

    @property
    def ours(self) -> tuple[float | None, float | None]:
        """Parameters in millions and FLOPs in billions, in the row's convention; None if not implemented."""
        if self.count is None or self.without_text is None:
            return None, None
        counted = self.count.total if self.published.text_encoder else self.without_text
        products = counted.macs
        flops = {
            "layer MACs": products.layers,
            "MACs": products.total,
            "layer operations": 2 * products.layers,
            "operations": products.operations,
        }[self.published.flops]
        return counted.parameters / 1e6, flops / 1e9

    @property
    def ratios(self) -> tuple[float | None, float | None]:
        """Ours divided by published: parameters, FLOPs; None if either is missing."""
        parameters, flops = self.ours
        return _ratio(parameters, self.published.parameters_m), _ratio(flops, self.published.flops_g)

    @property
    def met(self) -> bool:
        """Whether everything that can be compared is within its tolerance."""
        tolerances = (TOLERANCE, self.flops_tolerance)
        return all(
            ratio is None or abs(ratio - 1) <= limit for ratio, limit in zip(self.ratios, tolerances, strict=True)
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        found: dict[str, Any] = {"published": asdict(self.published), "implemented": self.count is not None}
        if self.count is None or self.without_text is None:
            return found
        (parameters, flops), (by_parameters, by_flops) = self.ours, self.ratios
        return found | {
            "ours": {"parameters_m": parameters, "flops_g": flops},
            "ratio": {"parameters": by_parameters, "flops": by_flops},
            "met": self.met,
            "with_text_encoder": _count_dict(self.count.total),
            "without_text_encoder": _count_dict(self.without_text),
            "parts": {name: _count_dict(part) for name, part in self.count.parts().items()},
            "graphs": {name: _products_dict(macs) for name, macs in self.count.graphs.items()},
        }


@dataclass(frozen=True)
class Table:
    """A published table beside ours.

    Attributes:
        published: as the paper has it.
        rows: its rows, with our counts.
        speed: measured here; None if it was not.
    """

    published: PublishedTable
    rows: tuple[Row, ...]
    speed: TableSpeed | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        head = {key: value for key, value in vars(self.published).items() if key not in ("rows", "figures")}
        return {
            **head,
            "tolerance": TOLERANCE,
            "rows": [row.to_dict() for row in self.rows],
            "figures": [asdict(figure) for figure in self.published.figures],
            "speed": None if self.speed is None else asdict(self.speed),
        }

    def to_markdown(self) -> str:
        """The table, ours in every convention, and the last model's parts and graphs."""
        return markdown(self)


def table(name: str, speed: TableSpeed | None = None) -> Table:
    """Counts the models of a published table; takes some seconds.

    Args:
        name: one of `tables()`.
        speed: measured here.

    Raises:
        UsageError: no such table.
    """
    return counted(read(name), speed)


def counted(published: PublishedTable, speed: TableSpeed | None = None) -> Table:
    """Counts the models of a table."""
    rows = tuple(Row(row, _count(row.model, row.ablation), published.flops_tolerance) for row in published.rows)
    return Table(published, rows, speed)


@cache  # a model stands in several tables
def _count(model: str | None, ablation: str | None) -> ModelCount | None:
    return None if model is None else count(partial(create, model, ablation))


def _ratio(ours: float | None, published: float | None) -> float | None:
    return None if ours is None or published is None else ours / published


def _count_dict(counted: Count) -> dict[str, int]:
    return {"parameters": counted.parameters, **_products_dict(counted.macs)}


def _products_dict(macs: Macs) -> dict[str, int]:
    return {
        "layer_macs": macs.layers,
        "attention_macs": macs.attention,
        "operations": macs.operations,
        "sparse_operations": 2 * macs.sparse,
    }
