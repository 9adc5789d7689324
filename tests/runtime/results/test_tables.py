"""GeoPackage and GeoParquet hold what GeoJSON does, as their own readers say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rsvl.runtime.errors import MissingComponentError, UsageError
from rsvl.runtime.images.georeference import Georeference
from rsvl.runtime.results import geojson
from rsvl.runtime.results.segmentation import Segmentation
from rsvl.runtime.tasks.named_text import NamedText
from tests.support.rasters import UTM

pytest.importorskip("rasterio")
PLACE = Georeference("EPSG:32618", UTM, 1.0)
DATE_LINE = Georeference("EPSG:4326", (0.5, 0.0, 178.0, 0.0, -0.5, 50.0))


def found(place: Georeference | None, text: str = "the ring") -> Segmentation:
    mask = np.zeros((12, 15), bool)
    mask[1:6, 2:7], mask[3, 4], mask[8, 9] = True, False, True
    return Segmentation(NamedText(text, "rings"), mask, 0.75, 0.5, georeference=place)


def from_wkb(data: bytes) -> list[Any]:
    """The coordinates of a MultiPolygon in little-endian well-known binary, read by hand."""
    numbers = memoryview(data)
    place = 0

    def take(kind: str, count: int) -> np.ndarray:
        nonlocal place
        values = np.frombuffer(numbers, kind, count, place)
        place += values.nbytes
        return values

    def header() -> tuple[int, int]:
        assert take("u1", 1)[0] == 1
        kind, count = take("<u4", 2)
        return int(kind), int(count)

    kind, polygons = header()
    assert kind == 6
    found = []
    for _ in range(polygons):
        kind, rings = header()
        assert kind == 3
        found.append([take("<f8", 2 * int(take("<u4", 1)[0])).reshape(-1, 2).tolist() for _ in range(rings)])
    assert place == len(data)
    return found


def expected(results: list[Segmentation]) -> list[dict[str, Any]]:
    rows = []
    for feature in geojson.collection(results)["features"]:
        shape, properties = feature["geometry"], feature["properties"]
        polygons = [shape["coordinates"]] if shape["type"] == "Polygon" else shape["coordinates"]
        known = {name: properties[name] for name in ("text", "name", "score", "peak")}
        box = json.dumps(properties["oriented_box"])
        rows.append({"id": feature["id"], **known, "area_m2": properties["area"], "oriented_box": box, "at": polygons})
    return rows


@pytest.mark.parametrize("place", [PLACE, DATE_LINE], ids=["UTM", "over the date line"])
def test_geoparquet_is_the_geojson(place: Georeference, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    results = [found(place), found(place, "another")]
    results[0].save(tmp_path / "ring.parquet")
    table = parquet.read_table(tmp_path / "ring.parquet")
    rows = [{"at": from_wkb(row.pop("geometry")), **row} for row in table.to_pylist()]
    assert rows == expected(results[:1])
    about = json.loads(table.schema.metadata[b"geo"])
    assert about["primary_column"] == "geometry" and about["columns"]["geometry"]["encoding"] == "WKB"
    results[0].save(tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "ring.parquet").read_bytes()


@pytest.mark.parametrize("place", [PLACE, DATE_LINE], ids=["UTM", "over the date line"])
def test_geopackage_is_the_geojson(place: Georeference, tmp_path: Path) -> None:
    pyogrio = pytest.importorskip("pyogrio")
    results = [found(place)]
    results[0].save(tmp_path / "ring.gpkg")
    meta, _, geometries, columns = pyogrio.raw.read(tmp_path / "ring.gpkg", layer="objects")
    assert meta["crs"] == "EPSG:4326" and meta["geometry_type"] == "MultiPolygon"
    names = meta["fields"].tolist()
    rows = [
        {**dict(zip(names, values, strict=True)), "at": from_wkb(geometry)}
        for geometry, *values in zip(geometries, *columns, strict=True)
    ]
    assert rows == expected(results)
    results[0].save(tmp_path / "again.gpkg")
    assert (tmp_path / "again.gpkg").read_bytes() == (tmp_path / "ring.gpkg").read_bytes()
    nothing = Segmentation("nothing", np.zeros((4, 4), bool), 0.0, 0.5, georeference=PLACE)
    nothing.save(tmp_path / "ring.gpkg")
    assert pyogrio.read_info(tmp_path / "ring.gpkg")["features"] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.gpkg", "ring.gpkg"]


@pytest.mark.parametrize(("suffix", "module"), [(".gpkg", "pyogrio"), (".parquet", "pyarrow")])
def test_tables_need_a_place_and_a_package(
    suffix: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(module)
    with pytest.raises(UsageError, match="not known where on Earth"):
        found(None).save(tmp_path / f"a{suffix}")
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(MissingComponentError, match=r"pip install 'rsvl\[geo\]'"):
        found(PLACE).save(tmp_path / f"a{suffix}")
    assert list(tmp_path.iterdir()) == []
