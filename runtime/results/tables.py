"""Objects and boxes as tables with a geometry: GeoPackage by pyogrio, GeoParquet by pyarrow; both come with ``[geo]``.

Both hold what `geojson.collection` does, in longitude and latitude of WGS 84, a MultiPolygon per row.
"""

from __future__ import annotations

import importlib
import json
import struct
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rsvl.runtime.atomic import replacing
from rsvl.runtime.errors import MissingComponentError, OutputError
from rsvl.runtime.extras import remedy
from rsvl.runtime.results.geojson import features

if TYPE_CHECKING:
    from rsvl.runtime.results.base import SpatialResult

LAYER = "objects"
_ROWS = 10_000
"""Rows that are in memory at once."""

_COLUMNS: dict[str, Any] = {
    "id": np.int64,
    "text": object,
    "name": object,
    "score": np.float64,
    "peak": np.float64,
    "area_m2": np.float64,
    "oriented_box": object,
}
"""Of each row but for its geometry; `oriented_box` is the JSON of its corners."""

_TILE_COLUMNS = {name: _COLUMNS[name] for name in ("id", "text", "score", "area_m2")} | {"label": object}
"""Of a tile's row."""

_NO_TIME = {"OGR_CURRENT_DATE": "1980-01-01T00:00:00Z"}
"""GDAL writes the time into a GeoPackage: equal results shall be equal bytes."""


def write_geopackage(path: str | Path, results: Sequence[SpatialResult]) -> None:
    """Writes results, all of one image, as the layer `objects` of a GeoPackage.

    Raises:
        UsageError: the image's place on Earth is not known.
        MissingComponentError: pyogrio is not installed.
        OutputError: the file cannot be written.
    """
    pyogrio = import_component("pyogrio")
    rows = _rows(results)
    with replacing(path) as temporary:
        temporary.unlink()  # GDAL takes an empty file for a damaged one
        pyogrio.set_gdal_config_options(_NO_TIME)
        try:
            for number, (geometries, columns) in enumerate(rows):
                pyogrio.raw.write(
                    temporary,
                    geometries,
                    list(columns.values()),
                    list(columns),
                    layer=LAYER,
                    driver="GPKG",
                    geometry_type="MultiPolygon",
                    crs="EPSG:4326",
                    append=number > 0,
                )
        except pyogrio.errors.DataSourceError as error:
            raise OutputError(f"{path}: cannot be written ({error}): check folder and free space") from error
        finally:
            pyogrio.set_gdal_config_options(dict.fromkeys(_NO_TIME))


def write_geoparquet(path: str | Path, results: Sequence[SpatialResult]) -> None:
    """Writes results, all of one image, as GeoParquet 1.1.

    Raises:
        UsageError: the image's place on Earth is not known.
        MissingComponentError: pyarrow is not installed.
        OutputError: the file cannot be written.
    """
    pyarrow, parquet = import_component("pyarrow"), import_component("pyarrow.parquet")
    geometry = {"encoding": "WKB", "geometry_types": ["MultiPolygon"]}  # without "crs" it is OGC:CRS84
    about = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": geometry}}
    kinds = {np.int64: pyarrow.int64(), np.float64: pyarrow.float64(), object: pyarrow.string()}
    fields = [(name, kinds[kind]) for name, kind in _columns(results).items()]
    schema = pyarrow.schema([*fields, ("geometry", pyarrow.binary())], metadata={"geo": json.dumps(about)})
    rows = _rows(results)
    with replacing(path) as temporary, parquet.ParquetWriter(temporary, schema) as writer:
        for geometries, columns in rows:
            arrays = [pyarrow.array(columns[name], kind, from_pandas=True) for name, kind in fields]
            writer.write_table(pyarrow.table([*arrays, pyarrow.array(geometries, pyarrow.binary())], schema=schema))


def import_component(module: str) -> Any:
    """The package that writes a table, pyogrio or pyarrow.

    Raises:
        MissingComponentError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        form = "GeoPackage" if module == "pyogrio" else "GeoParquet"
        raise MissingComponentError(f"{form} needs {module}: {remedy(module)}") from error


def _rows(results: Sequence[SpatialResult]) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """The geometries as WKB and the columns, some rows at a time; at least once."""
    left, first = features(results), True
    while (some := list(islice(left, _ROWS))) or first:
        first = False
        geometries = np.empty(len(some), object)
        geometries[:] = [_wkb(feature["geometry"]) for feature in some]
        values = [{"id": feature["id"], **_flat(feature["properties"])} for feature in some]
        yield (
            geometries,
            {
                name: np.array([row.get(name, np.nan if kind is np.float64 else None) for row in values], kind)
                for name, kind in _columns(results).items()
            },
        )


def _columns(results: Sequence[SpatialResult]) -> dict[str, Any]:
    return _TILE_COLUMNS if results and results[0].shapes == "tiles" else _COLUMNS


def _flat(properties: dict[str, Any]) -> dict[str, Any]:
    box = properties.get("oriented_box")
    return {**properties, "area_m2": properties["area"], "oriented_box": None if box is None else json.dumps(box)}


def _wkb(geometry: dict[str, Any]) -> bytes:
    """A polygon of GeoJSON as a MultiPolygon in well-known binary, little endian."""
    polygons = [geometry["coordinates"]] if geometry["type"] == "Polygon" else geometry["coordinates"]
    parts = [struct.pack("<BII", 1, 6, len(polygons))]
    for rings in polygons:
        parts.append(struct.pack("<BII", 1, 3, len(rings)))
        for ring in rings:
            parts += [struct.pack("<I", len(ring)), np.array(ring, "<f8").tobytes()]
    return b"".join(parts)
