"""What a model says of each tile of a scene, an answer, a label or a class: as a table, a map and a raster."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple
from xml.sax.saxutils import escape

import numpy as np

from rsvl.runtime.atomic import replacing, write_text
from rsvl.runtime.images.georeference import Georeference
from rsvl.runtime.images.scene import Scene
from rsvl.runtime.images.tiling import Window
from rsvl.runtime.results.base import Part, Result, SpatialResult
from rsvl.runtime.results.contours import Polygon
from rsvl.runtime.results.geotiff import open_writer

_SMALL = 255
"""Labels that fit uint8, with a value for no data."""


class Row(NamedTuple):
    """One tile.

    Attributes:
        window: where it lies.
        label: what it shows.
        probability: of that label, 0…1.
    """

    window: Window
    label: str
    probability: float


@dataclass(frozen=True, eq=False)
class TileTable(SpatialResult):
    """What a scene's tiles show, by one question or set of labels. See `SpatialResult` for what is not said here.

    Attributes:
        text: the question; empty for labels and classes.
        rows: the tiles with data, row by row.
        labels: all that a tile can be given, in alphabetical order.
    """

    shapes: ClassVar[str] = "tiles"

    text: str
    rows: Sequence[Row]
    labels: Sequence[str]
    size: tuple[int, int]
    georeference: Georeference | None
    scene: Scene | None = field(repr=False)

    @property
    def mask(self) -> None:  # type: ignore[override]
        """None: tiles have labels."""

    @property
    def score(self) -> float:  # type: ignore[override]
        """The mean probability of the tiles' labels."""
        return float(np.mean([row.probability for row in self.rows])) if self.rows else 0.0

    @property
    def outlines(self) -> list[np.ndarray]:  # type: ignore[override]
        """Each tile's corners, clockwise on the screen."""
        return [part.polygons[0].exterior for part in self.parts]

    @property
    def parts(self) -> list[Part]:  # type: ignore[override]
        """Each tile with its label."""
        found = []
        for (y, x, height, width), label, probability in self.rows:
            corners = np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]])
            found.append(Part(probability, height * width, [Polygon(corners, (), height * width)], label=label))
        return found

    def place(self) -> str:
        """How many tiles there are of each label."""
        names, counts = np.unique([row.label for row in self.rows], return_counts=True)
        return ", ".join(f"{count} {name}" for name, count in zip(names, counts, strict=True))

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        tiles = [{"box": list(row.window.corners), **row._asdict()} for row in self.rows]
        return {"text": self.text, "tiles": [{k: v for k, v in tile.items() if k != "window"} for tile in tiles]}


def tile_tables(results: Iterable[Result]) -> list[TileTable]:
    """The tables of results that are about tiles, one per question; none of results about whole images."""
    rows: dict[str, list[Row]] = {}
    about: dict[str, Any] = {}
    for result in results:
        window, scene = getattr(result, "window", None), getattr(result, "scene", None)
        if window is not None and scene is not None:
            text, distribution = getattr(result, "question", ""), result.shares  # type: ignore[attr-defined]
            label = next(iter(distribution))
            rows.setdefault(text, []).append(Row(window, label, distribution[label]))
            about[text] = scene, sorted(distribution)
    return [
        TileTable(text, rows[text], labels, (scene.height, scene.width), scene.georeference, scene)
        for text, (scene, labels) in about.items()
    ]


def write_csv(path: Path, tables: Sequence[TileTable]) -> None:
    """Writes tables as one, with a header: tile by tile its bounds in pixels, the question, the label, its probability.

    Raises:
        OutputError: it cannot be written.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["x1", "y1", "x2", "y2", "text", "label", "probability"])
        for table in tables:
            for row in table.rows:
                writer.writerow([*row.window.corners, table.text, row.label, f"{row.probability:.6f}"])


def write_raster(path: Path, tables: Sequence[TileTable]) -> list[Path]:
    """Writes labels as a cloud optimized GeoTIFF on the image's own grid, one band per question.

    A value is a label's place in `TileTable.labels`, the largest of the type no data. GDAL reads the labels as category
    names from a file beside it. Where tiles overlap, a pixel is that of the tile whose middle is nearer.

    Returns:
        The raster and the file of names.

    Raises:
        MissingComponentError: rasterio is not installed.
        OutputError: one cannot be written.
    """
    first = tables[0]
    dtype = "uint8" if max(len(table.labels) for table in tables) <= _SMALL else "uint16"
    nodata = int(np.iinfo(dtype).max)
    names = [table.text or "labels" for table in tables]
    with open_writer(path, first.size, names, first.georeference, dtype, nodata) as writer:
        for band, table in enumerate(tables, start=1):
            number = {label: value for value, label in enumerate(table.labels)}
            down = _parted({row.window[::2] for row in table.rows}, first.size[0])
            across = _parted({row.window[1::2] for row in table.rows}, first.size[1])
            by_strip: dict[tuple[int, int], list[Row]] = {}
            for row in table.rows:
                by_strip.setdefault(row.window[::2], []).append(row)
            for key, rows in by_strip.items():
                top, bottom = down[key]
                strip = np.full((bottom - top, first.size[1]), nodata, dtype)
                for row in rows:
                    strip[:, slice(*across[row.window[1::2]])] = number[row.label]
                writer.write(band, Window(top, 0, *strip.shape), strip)
    legend = path.with_name(f"{path.name}.aux.xml")
    write_text(legend, _categories([table.labels for table in tables]))
    return [path, legend]


def _parted(spans: set[tuple[int, int]], length: int) -> dict[tuple[int, int], tuple[int, int]]:
    """An axis shared among the (start, length) of tiles: each one's own first pixel and the one after its last."""
    found, ordered = {}, sorted(spans)
    for i, (start, extent) in enumerate(ordered):
        before, after = ordered[i - 1] if i else None, ordered[i + 1] if i + 1 < len(ordered) else None
        low = start if before is None or sum(before) < start else (sum(before) + start) // 2
        high = start + extent if after is None or after[0] > start + extent else (start + extent + after[0]) // 2
        found[start, extent] = low, min(high, length)
    return found


def _categories(labels: Sequence[Sequence[str]]) -> str:
    """GDAL's category names of a raster's bands."""
    bands = [
        f'<PAMRasterBand band="{band}"><CategoryNames>'
        + "".join(f"<Category>{escape(name)}</Category>" for name in names)
        + "</CategoryNames></PAMRasterBand>"
        for band, names in enumerate(labels, start=1)
    ]
    return f"<PAMDataset>{''.join(bands)}</PAMDataset>\n"
