"""What files beside an image say of its place: world files, .prj and GDAL's .aux.xml, read as numbers and text.

GDAL itself is kept from looking beside an image (`rsvl.runtime.images.raster`): its sidecars may name any other file or
host. Only a transform and a coordinate system are taken from them here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from rsvl.runtime import plain_xml

Transform = tuple[float, float, float, float, float, float]
_MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class Beside:
    """What lies beside an image.

    Attributes:
        transform: (a, b, c, d, e, f) as in `rsvl.runtime.images.georeference.Georeference`; None where no file says it.
        crs: a coordinate system in whatever form the file has it; empty where no file says it.
        files: the names of the files that said so.
    """

    transform: Transform | None = None
    crs: str = ""
    files: tuple[str, ...] = ()


def read_beside(path: Path) -> Beside:
    """Reads what lies beside an image. Files that say nothing usable are passed over."""
    transform, crs, files = None, "", []
    aux = path.with_name(f"{path.name}.aux.xml")
    found = _auxiliary(aux)
    if found != (None, ""):
        transform, crs = found
        files.append(aux.name)
    for candidate in _world_files(path) if transform is None else ():
        transform = _world_file(candidate)
        if transform is not None:
            files.append(candidate.name)
            break
    if not crs and transform is not None:
        for candidate in (path.with_suffix(".prj"), path.with_suffix(".PRJ")):
            crs = _text(candidate).strip()
            if crs:
                files.append(candidate.name)
                break
    return Beside(transform, crs, tuple(files))


def _world_files(path: Path) -> list[Path]:
    """.jgw for .jpg, .jpegw, .wld, in either case."""
    suffix = path.suffix[1:]
    endings = [suffix[:1] + suffix[-1:] + "w", suffix + "w", "wld"] if suffix else ["wld"]
    return [path.with_suffix(f".{form}") for ending in endings for form in (ending.lower(), ending.upper())]


def _world_file(path: Path) -> Transform | None:
    """A world file's six lines: a, d, b, e and the centre of the upper left pixel."""
    try:
        a, d, b, e, x, y = (float(word.replace(",", ".")) for word in _text(path).split())
    except ValueError:
        return None
    return _usable(a, b, x - (a + b) / 2, d, e, y - (d + e) / 2)


def _auxiliary(path: Path) -> tuple[Transform | None, str]:
    """The GeoTransform and the SRS of a PAM file."""
    try:
        root = plain_xml.parse(_text(path).encode())
    except ValueError:
        return None, ""
    crs = (root.findtext("SRS") or "").strip()
    try:
        c, a, b, f, d, e = (float(word) for word in (root.findtext("GeoTransform") or "").split(","))
    except ValueError:
        return None, crs
    return _usable(a, b, c, d, e, f), crs


def _usable(a: float, b: float, c: float, d: float, e: float, f: float) -> Transform | None:
    finite = all(math.isfinite(value) for value in (a, b, c, d, e, f))
    return (a, b, c, d, e, f) if finite and a * e - b * d != 0 else None


def _text(path: Path) -> str:
    try:
        if not path.is_file() or path.stat().st_size > _MOST_BYTES:
            return ""
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
