"""A table as Markdown: published and ours side by side, then ours by module and graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rsvl.benchmarks.count import Count, Macs, ModelCount
from rsvl.benchmarks.markdown import markdown_table
from rsvl.benchmarks.papers.published import Figure, PublishedTable

if TYPE_CHECKING:
    from rsvl.benchmarks.papers.report import Row, Table

NONE = "–"
_CONVENTIONS = [
    "row",
    "params (M): with text encoder",
    "without",
    "MACs of layers (G)",
    "of all products (G)",
    "operations of layers (G)",
    "of all products (G)",
    "the four without text encoder (G)",
]
_SPARSE = [
    "row",
    "operations computed (G)",
    "of unselected experts (G)",
    "of a sparse execution (G)",
    "sparse/computed",
]
_PARTS = ["part", "params (M)", "MACs of layers (G)", "attention products (G)", "operations (G)"]
_GRAPHS = ["graph", "MACs of layers (G)", "attention products (G)", "share of all products"]
_FIGURES = ["system", "quantity", "published", "of", "ours"]


def markdown(table: Table) -> str:
    """The whole report."""
    return (
        "\n\n".join([*_head(table.published), *_rows(table), *_figures(table.published.figures), *_ours(table)]) + "\n"
    )


def _head(published: PublishedTable) -> Iterator[str]:
    yield f"# {published.title}"
    yield f"{published.source}."
    about = []
    if published.inputs:
        sizes = (f"{name} {_size(size)}" for name, size in published.inputs.items())
        about.append(f"Inputs: {', '.join(sizes)}.")
    about += [f"{text}." for text in (published.hardware, _accuracy(published)) if text]
    if about:
        yield " ".join(about)
    yield published.counting


def _size(size: int | list[int]) -> str:
    return "×".join(map(str, size)) if isinstance(size, list) else str(size)


def _accuracy(published: PublishedTable) -> str:
    return f"Accuracy: {published.accuracy}" if published.accuracy else ""


def _rows(table: Table) -> Iterator[str]:
    if not table.rows:
        return
    yield "## Published and ours"
    columns = [(name, cells) for name, cells in _columns(table) if set(cells) != {NONE}]
    rows = ([cells[index] for _, cells in columns] for index in range(len(table.rows)))
    yield markdown_table([name for name, _ in columns], rows)
    if table.speed is not None:
        speed = table.speed
        yield (
            f"Measured here: on {speed.hardware}, {speed.threads} threads, batch 1, random weights, median of "
            f"{speed.rounds} rounds. The published speed is from another machine: a ratio would not compare models."
        )
    for row in table.rows:
        if row.published.note:
            yield f"{row.published.name}: {row.published.note}"


def _columns(table: Table) -> Iterator[tuple[str, list[str]]]:
    """Each column's name and cells."""
    rows = table.rows
    published = [row.published for row in rows]
    ours = [["not implemented"] * 2 if row.count is None else [*map(_number, row.ours)] for row in rows]
    yield "row", [p.name for p in published]
    yield "text encoder", [_text_encoder(row) for row in rows]
    yield "params (M): published", [_number(p.parameters_m) for p in published]
    yield "params (M): ours", [parameters for parameters, _ in ours]
    yield "ratio", [_number(row.ratios[0], 3) for row in rows]
    yield "FLOPs (G): published", [_number(p.flops_g) for p in published]
    yield "FLOPs (G): ours", [flops for _, flops in ours]
    yield "ratio", [_number(row.ratios[1], 3) for row in rows]
    yield "counted as", [p.flops for p in published]
    yield "FPS published", [_number(p.fps) for p in published]
    if table.speed is not None:
        fps = [table.speed.fps(p.name) for p in published]
        for runner in dict.fromkeys(runner for row in fps for runner in row):
            yield f"FPS here: {runner}", [_number(row.get(runner)) for row in fps]
    yield "oIoU (%)", [_number(p.oiou) for p in published]
    yield "mIoU (%)", [_number(p.miou) for p in published]
    yield "top-1 (%)", [_number(p.top1) for p in published]
    yield "F1 (%)", [_number(p.f1) for p in published]


def _text_encoder(row: Row) -> str:
    if row.count is not None and "text_encoder" not in row.count.modules:
        return NONE
    return "with" if row.published.text_encoder else "without"


def _figures(figures: tuple[Figure, ...]) -> Iterator[str]:
    if figures:
        yield "## Stated in the text"
        yield markdown_table(
            _FIGURES, [[f.system, f.quantity, f.published, f.of, f.counterpart] for f in figures], words=5
        )


def _ours(table: Table) -> Iterator[str]:
    """Every counting convention, idle MACs of experts, and the last model's parts and graphs."""
    counts = {row.published.name: (row.count, row.without_text) for row in table.rows}
    implemented = {name: (count, without) for name, (count, without) in counts.items() if count and without}
    if not implemented:
        return
    yield "## Ours in every convention"
    yield markdown_table(_CONVENTIONS, [_conventions(name, *both) for name, both in implemented.items()])
    idle = {name: count for name, (count, _) in implemented.items() if count.total.macs.idle}
    if idle:
        yield "## Computed, and computed by a sparse execution"
        yield markdown_table(_SPARSE, [_sparse(name, count.total.macs) for name, count in idle.items()])
    last, (count, _) = list(implemented.items())[-1]
    yield f"## {last}: by module"
    yield markdown_table(_PARTS, [_part(name, part) for name, part in count.parts().items() if part.parameters])
    yield f"## {last}: by graph"
    yield markdown_table(_GRAPHS, _graphs(count))


def _conventions(name: str, count: ModelCount, without: Count) -> list[str]:
    def four(counted: Count) -> list[str]:
        macs = counted.macs
        return [_g(macs.layers), _g(macs.total), _g(2 * macs.layers), _g(macs.operations)]

    parameters = [f"{counted.parameters / 1e6:.2f}" for counted in (count.total, without)]
    return [name, *parameters, *four(count.total), " / ".join(four(without))]


def _sparse(name: str, macs: Macs) -> list[str]:
    return [name, _g(macs.operations), _g(2 * macs.idle), _g(2 * macs.sparse), f"{macs.sparse / macs.total:.1%}"]


def _part(name: str, part: Count) -> list[str]:
    macs = part.macs
    return [name, f"{part.parameters / 1e6:.3f}", _g(macs.layers), _g(macs.attention), _g(macs.operations)]


def _graphs(count: ModelCount) -> Iterator[list[str]]:
    total = count.total.macs.total
    for name, macs in count.graphs.items():
        yield [name, _g(macs.layers), _g(macs.attention), f"{macs.total / total:.1%}"]


def _number(value: float | None, digits: int = 2) -> str:
    return NONE if value is None else f"{value:.{digits}f}"


def _g(products: int) -> str:
    return f"{products / 1e9:.2f}"
