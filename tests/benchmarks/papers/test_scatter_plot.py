"""The plot of accuracy against efficiency: what is drawn where, and what cannot be drawn."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from PIL import Image

from rsvl.benchmarks.count import Count, Macs, ModelCount
from rsvl.benchmarks.papers.published import Published, PublishedTable
from rsvl.benchmarks.papers.report import Row, Table
from rsvl.benchmarks.papers.scatter_plot import arrange, draw
from rsvl.benchmarks.papers.speed_record import TableSpeed
from rsvl.benchmarks.timing import Percentiles
from rsvl.runtime.errors import MissingComponentError, UsageError


def counted(parameters: int, products: int) -> ModelCount:
    text = Count(0, Macs())
    return ModelCount(Count(parameters, Macs(products)), {"text_encoder": text}, {})


SMALL = Published("Small", "x", parameters_m=10.0, flops_g=5.0, fps=20.0, oiou=70.0, miou=60.0)
LARGE = Published("Large", "x", parameters_m=30.0, flops_g=9.0, fps=10.0, oiou=75.0, miou=65.0)
DRAWN_ONLY = Published("Drawn only", "x", oiou=72.0)
STRANGER = Published("Stranger", None, oiou=90.0)


def toy(*published: Published, speed: TableSpeed | None = None) -> Table:
    ours = counted(11_000_000, 6_000_000_000)
    rows = tuple(Row(row, None if row.model is None else ours) for row in published)
    return Table(PublishedTable("toy", "Toy", "a paper", "Somehow.", {}, rows=published), rows, speed)


def test_published_figures_are_drawn_where_all_rows_have_them() -> None:
    found = arrange(toy(SMALL, LARGE))
    assert found.names == ["Small", "Large"]
    assert (found.x.values, found.x.label) == ([20.0, 10.0], "images per second (published)")
    assert (found.y.values, found.y.label) == ([70.0, 75.0], "oIoU (%)")
    assert (found.area.values, found.colour.values) == ([5.0, 9.0], [10.0, 30.0])


def test_ours_are_drawn_for_all_rows_where_one_lacks_the_published() -> None:
    found = arrange(toy(SMALL, DRAWN_ONLY, STRANGER))
    assert found.names == ["Small", "Drawn only"]
    assert found.x == found.area
    assert (found.area.values, found.area.label) == ([6.0, 6.0], "FLOPs (G, counted here)")
    assert found.colour.values == [11.0, 11.0]
    assert arrange(toy(SMALL, DRAWN_ONLY), x_axis="fps").names == ["Small"]
    assert arrange(toy(SMALL, DRAWN_ONLY), y_axis="miou").y.values == [60.0]


def test_speed_measured_here_takes_the_place_of_the_published() -> None:
    runners = {"slow": Percentiles(100.0, 100.0, 100.0), "fast": Percentiles(50.0, 50.0, 50.0)}
    found = arrange(toy(SMALL, LARGE, speed=TableSpeed("toy", "My CPU", 2, 5, {"Small": runners}, {})), "fps")
    assert (found.names, found.x.values) == (["Small"], [20.0]) and "My CPU" in found.x.label


@pytest.mark.parametrize(
    ("table", "options", "said"),
    [
        (toy(Published("A", "x", fps=3.0)), {}, "no row with an accuracy"),
        (toy(DRAWN_ONLY), {"x_axis": "fps"}, "--speed"),
        (toy(DRAWN_ONLY), {"y_axis": "miou"}, "other --y-axis"),
        (toy(STRANGER), {}, "no row with an accuracy"),
    ],
)
def test_a_table_that_cannot_be_drawn_says_what_to_do(table: Table, options: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        arrange(table, **options)


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_plot_is_written_whole_in_either_format(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"plot{suffix}"
    assert draw(toy(SMALL, LARGE), path) == ["Small", "Large"]
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    if suffix == ".png":
        assert Image.open(path).size[0] > 1000
    else:
        assert path.read_text().lstrip().startswith("<?xml")


def test_a_plot_of_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.png or \.svg"):
        draw(toy(SMALL), tmp_path / "plot.jpg")


def test_a_plot_without_matplotlib_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingComponentError, match=r"rsvl\[bench\]"):
        draw(toy(SMALL), tmp_path / "plot.png")
