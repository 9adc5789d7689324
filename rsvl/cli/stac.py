"""STAC items as images: which of an item's files is run on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from rsvl.runtime.errors import InputError

PREFERRED = ("visual", "overview")
"""Assets that are looked for in this order where nobody names one; then the only one with the role ``data``."""

_MOST_BYTES = 1 << 24
_IMAGES = ("image/", "application/x-geotiff")


def is_stac(path: Path) -> bool:
    """Whether a file may be a STAC item, by its name."""
    return path.suffix.lower() in (".json", ".geojson") and path.is_file()


def asset_of(path: Path, name: str | None = None) -> Path:
    """The image of a STAC item, a file in the item's own folder or below.

    Args:
        path: the item.
        name: which asset; None for `PREFERRED`, else the only image with the role ``data``.

    Raises:
        InputError: no item, no such asset, several that it may be, or one that lies elsewhere or on another host.
    """
    assets = _assets(path)
    chosen = name or _usual(path, assets)
    if chosen not in assets:
        raise InputError(f"{path}: no asset {chosen!r}: choose one of {', '.join(assets)} with --asset")
    href = str(assets[chosen].get("href", ""))
    parts = urlsplit(href)
    if parts.scheme not in ("", "file") or parts.netloc:
        raise InputError(f"{path}: its {chosen} is on another host ({href}): download it and name the file")
    folder = path.absolute().parent.resolve()
    file = (folder / unquote(parts.path)).resolve()
    if not href or not file.is_relative_to(folder):
        raise InputError(f"{path}: its {chosen} does not lie in the item's folder ({href}): name the file itself")
    return file


def _assets(path: Path) -> dict[str, dict[str, Any]]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError("too large")
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["type"] != "Feature" or not str(data["stac_version"]):
            raise ValueError("no item")
        assets = {str(key): dict(asset) for key, asset in data["assets"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(f"{path}: a JSON file that is no STAC item: name images, or items with assets") from error
    if not assets:
        raise InputError(f"{path}: a STAC item without assets: name an image")
    return assets


def _usual(path: Path, assets: dict[str, dict[str, Any]]) -> str:
    for key in PREFERRED:
        if key in assets:
            return key
    for key in PREFERRED:
        with_role = [name for name, asset in assets.items() if key in asset.get("roles", ())]
        if len(with_role) == 1:
            return with_role[0]
    images = [name for name, asset in assets.items() if str(asset.get("type", "")).startswith(_IMAGES)]
    data = [name for name in images if "data" in assets[name].get("roles", ())] or images
    if len(data) != 1:
        raise InputError(
            f"{path}: nothing says which of its assets to show: choose one of {', '.join(assets)} with --asset"
        )
    return data[0]
