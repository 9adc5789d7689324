"""Finds where a file's image lies: by its own transform, ground control points, RPCs, or what lies beside it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from rsvl.runtime.errors import InputError
from rsvl.runtime.images.georeference import ControlPoint, Georeference
from rsvl.runtime.images.sidecars import Transform, read_beside

_IDENTITY = ((1.0, 0.0, 0.0, 0.0, 1.0, 0.0), (1.0, 0.0, 0.0, 0.0, -1.0, 0.0))
_NO_SYSTEM = "a transform without a coordinate system: name it with --crs"

Placed = tuple[Georeference | None, tuple[str, ...]]
"""Where an image lies, and what is to be told of it."""


def of_dataset(dataset: Any, path: Path, crs: str) -> Placed:
    """Where an open rasterio dataset lies.

    Args:
        dataset: the dataset.
        path: its file, beside which a world file may lie.
        crs: the coordinate system of a transform without one.

    Raises:
        InputError: `crs` is no coordinate system.
    """
    transform = _transform(tuple(dataset.transform)[:6])
    points, points_crs = dataset.gcps
    if transform is None and points and points_crs is not None:
        name = crs_name(points_crs)
        placed = tuple(ControlPoint(p.col, p.row, p.x, p.y, p.z or 0.0) for p in points)
        found = Georeference(name, None, _metres(points_crs), placed)
        if not found.is_sound:
            return None, ("ground control points that give no place: not georeferenced",)
        return found, (f"placed by {len(placed)} ground control points",)
    own = dataset.crs
    beside = read_beside(path) if transform is None or own is None else None
    if transform is None and beside is not None and beside.transform is None and dataset.rpcs is not None:
        found = Georeference("EPSG:4326", None, rpcs=dataset.rpcs)
        if not found.is_sound:
            return None, ("RPCs that give no place: not georeferenced",)
        height = dataset.rpcs.height_off
        return found, (f"placed by its RPCs at their height of {height:g} m, without a terrain model",)
    return _assembled(transform, own, beside, crs, bool(points))


def beside_image(path: Path, crs: str) -> Placed:
    """Where an image lies that has no place of its own, by what lies beside its file; as `of_dataset`.

    The coordinate systems need rasterio.
    """
    return _assembled(None, None, read_beside(path), crs, False)


def has_place_beside(path: Path) -> bool:
    """Whether files beside an image give it a place."""
    return read_beside(path).transform is not None


def crs_name(crs: Any) -> str:
    """A rasterio CRS as ``EPSG:…``, or as WKT where no code says the same, a datum's own shift included."""
    from rasterio.crs import CRS

    authority = crs.to_authority()
    if authority and CRS.from_authority(*authority) == crs and _shift(CRS.from_authority(*authority)) == _shift(crs):
        return ":".join(authority)
    return crs.to_wkt()


def _assembled(transform: Transform | None, own: Any, beside: Any, asked: str, has_points: bool) -> Placed:
    notes = []
    if beside is not None and transform is None and beside.transform is not None:
        transform = _transform(beside.transform)
    elif transform is None:
        if own is not None:
            notes.append("a coordinate system without a transform: not georeferenced")
        elif has_points:
            notes.append("ground control points without a coordinate system: not georeferenced")
        return None, tuple(notes)
    files: tuple[str, ...] = beside.files if beside is not None else ()
    crs = own or _parsed(asked, "--crs") or (_parsed(beside.crs, "") if beside is not None else None)
    if files:
        notes.append(f"placed by {' and '.join(files)}")
    if crs is None:
        notes.append(_NO_SYSTEM)
        return Georeference("", transform), tuple(notes)
    return Georeference(crs_name(crs), transform, _metres(crs)), tuple(notes)


def _transform(values: Any) -> Transform | None:
    """A transform, None where it only counts pixels."""
    a, b, c, d, e, f = (float(value) for value in values)
    return None if (a, b, c, d, e, f) in _IDENTITY else (a, b, c, d, e, f)


def _parsed(text: str, option: str) -> Any:
    """A CRS from its text; None where there is none, or where a file's is not understood."""
    if not text:
        return None
    from rasterio.crs import CRS
    from rasterio.errors import RasterioError

    try:
        return CRS.from_user_input(text)
    except (RasterioError, ValueError) as error:
        if not option:
            return None
        raise InputError(f"{option} {text!r} is no coordinate system: give a code such as EPSG:32633") from error


def _metres(crs: Any) -> float | None:
    return float(crs.linear_units_factor[1]) if crs.is_projected else None


def _shift(crs: Any) -> list[float]:
    """The datum's own shift to WGS 84 (TOWGS84); none where it is nothing."""
    found = re.search(r"TOWGS84\[([^\]]*)\]", crs.to_wkt())
    values = [float(value) for value in found[1].split(",")] if found else []
    return values if any(values) else []
