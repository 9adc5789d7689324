"""Answers, labels and classes of a scene's tiles: a table, a map, and a raster whose values GDAL names."""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from rsvl.runtime.images.georeference import Georeference
from rsvl.runtime.images.tiling import Grid
from rsvl.runtime.results.classification import Classification
from rsvl.runtime.results.image_files import save_all
from rsvl.runtime.results.tile_table import Row, TileTable, tile_tables, write_raster
from rsvl.runtime.results.vqa import Answer
from tests.support.installed import needs

UTM = Georeference("EPSG:32618", (10.0, 0.0, 500000.0, 0.0, -10.0, 4500000.0))


class Place:
    """A scene of which only its size and place are asked."""

    height, width, georeference = 100, 130, UTM


def grid_rows(labels: list[str], tile: int) -> list[Row]:
    grid = Grid.over(100, 130, tile, 0)
    return [Row(grid.window(*place), labels[i % len(labels)], 0.9) for i, place in enumerate(grid)]


@needs("rasterio")
@pytest.mark.parametrize("tile", [25, 40, 64, 130])
def test_pixels_have_the_label_of_the_tile_whose_middle_is_nearest(tmp_path: Path, tile: int) -> None:
    import rasterio

    labels = ["water", "<land> & sea", "town"]
    rows = grid_rows(labels, tile)
    table = TileTable("what is it?", rows, sorted(labels), (100, 130), UTM, Place())
    write_raster(tmp_path / "labels.tif", [table])
    with rasterio.open(tmp_path / "labels.tif") as file:
        found, nodata = file.read(1), file.nodata
        assert file.crs.to_epsg() == 32618 and file.descriptions == ("what is it?",)
    middles = np.array([(r.window.row + r.window.height / 2, r.window.column + r.window.width / 2) for r in rows])
    y, x = np.mgrid[:100, :130] + 0.5
    far = np.maximum(np.abs(y[..., None] - middles[:, 0]), np.abs(x[..., None] - middles[:, 1]))
    # Along each axis the nearest middle decides; a tie may go either way.
    for axis, middle in ((y, middles[:, 0]), (x, middles[:, 1])):
        away = np.abs(axis[..., None] - middle)
        far = np.where(away <= away.min(axis=-1, keepdims=True) + 1.0, far, np.inf)
    possible = np.array([[row.label == name for row in rows] for name in sorted(labels)])
    assert nodata == 255 and (found < 3).all()
    for value in range(3):
        assert np.isfinite(far[found == value][:, possible[value]]).any(axis=1).all()


@needs("rasterio")
def test_gdal_reads_the_labels_as_category_names(tmp_path: Path) -> None:
    import rasterio
    import rasterio.shutil

    labels = ["water", "<land> & sea"]
    tables = [TileTable(text, grid_rows(labels, 50), sorted(labels), (100, 130), UTM, Place()) for text in "ab"]
    files = write_raster(tmp_path / "labels.tif", tables)
    assert [path.name for path in files] == ["labels.tif", "labels.tif.aux.xml"]
    with rasterio.open(tmp_path / "labels.tif") as file:
        rasterio.shutil.copy(file, tmp_path / "copy.vrt", driver="VRT")
    bands = ElementTree.parse(tmp_path / "copy.vrt").getroot().findall("VRTRasterBand")
    names = [[each.text for each in band.findall("CategoryNames/Category")] for band in bands]
    assert names == [sorted(labels)] * 2


@needs("rasterio")
def test_tiles_without_data_have_none(tmp_path: Path) -> None:
    import rasterio

    rows = grid_rows(["x"], 50)
    left = [row for row in rows if (row.window.row, row.window.column) != (50, 0)]
    write_raster(tmp_path / "labels.tif", [TileTable("", left, ["x"], (100, 130), UTM, Place())])
    with rasterio.open(tmp_path / "labels.tif") as file:
        found = file.read(1)
    assert (found[75:, :20] == 255).all() and (found[:50] == 0).all() and (found[50:, 60:] == 0).all()


def results() -> list:
    windows = [row.window for row in grid_rows(["x"], 50)]
    shares = [{"yes": 0.7, "no": 0.3}, {"no": 0.8, "yes": 0.2}]
    return [
        Answer(question, next(iter(share)), max(share.values()), share, ("optical",), "", (), window, Place())
        for question in ("is it wet?", "is it town?")
        for window, share in zip(windows, shares * 9, strict=False)
    ]


@needs("rasterio")
def test_answers_of_tiles_give_a_table_and_a_map(tmp_path: Path) -> None:
    files = save_all(results(), tmp_path, "s")
    names = ["s-tiles.csv", "s-tiles.geojson", "s-labels.tif", "s-labels.tif.aux.xml"]
    assert [path.name for path in files] == names
    with (tmp_path / "s-tiles.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12 and rows[1] == {
        **{"x1": "40", "y1": "0", "x2": "90", "y2": "50", "text": "is it wet?", "label": "no"},
        "probability": "0.800000",
    }
    features = json.loads((tmp_path / "s-tiles.geojson").read_text())["features"]
    about = [(each["properties"]["text"], each["properties"]["label"]) for each in features]
    assert about == [(row["text"], row["label"]) for row in rows]
    assert features[0]["properties"]["area"] == pytest.approx(500 * 500 / 0.9996**2, rel=1e-4)


def test_whole_images_give_no_table(tmp_path: Path) -> None:
    whole = [Classification({"a": 1.0})]
    assert tile_tables(whole) == [] and save_all(whole, tmp_path, "s") == []
