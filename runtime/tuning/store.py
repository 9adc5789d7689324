"""The records of choices: JSON files beside a bundle's engines, or in the user's cache folder.

A packed bundle has no folder to write to, and one that is installed read-only neither: their records lie in the cache
folder. A record is data, never trusted to be more: what is damaged is skipped, what is stale is told once.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from rsvl.runtime.atomic import write_text
from rsvl.runtime.bundle import ENGINES, Bundle
from rsvl.runtime.cache import cache_folder
from rsvl.runtime.errors import OutputError
from rsvl.runtime.tuning.choice import Choice, bundle_hash, circumstances

_MAX_BYTES = 1 << 20


def tuning_folder() -> Path:
    """The folder in the user's cache for records of bundles that cannot be written to; it need not exist yet."""
    return cache_folder() / "tuning"


def find_choice(bundle: Bundle) -> Choice | None:
    """The newest choice for a bundle that holds here and now; warns of one that is damaged or stale.

    Raises:
        MissingComponentError: ONNX Runtime is not installed.
    """
    known, damaged = _read_all(bundle)
    if not known and not damaged:
        return None
    now = circumstances(bundle)
    for choice in known:
        if choice.circumstances == now:
            return choice
    if known:
        _tell(bundle, f"was measured under other circumstances ({known[0].circumstances.differences(now)[0]})")
    else:
        _tell(bundle, f"cannot be read ({damaged[0].name})")
    return None


def known_choices(bundle: Bundle) -> list[Choice]:
    """All choices that are remembered for a bundle, the newest first, whatever machine they hold for."""
    return _read_all(bundle)[0]


def remember(bundle: Bundle, choice: Choice) -> Path:
    """Writes a choice, in the place of an earlier one for the same circumstances.

    Returns:
        The file.

    Raises:
        OutputError: it cannot be written.
    """
    path = writable_folder(bundle) / _file_name(choice)
    write_text(path, json.dumps(choice.to_dict(), indent=2) + "\n")
    for folder in _folders(bundle):
        if folder != path.parent:
            _remove([folder / path.name])
    return path


def forget(bundle: Bundle) -> int:
    """Removes all choices for a bundle, damaged ones too.

    Returns:
        How many there were.

    Raises:
        OutputError: one cannot be removed.
    """
    return _remove(list(_paths(bundle)))


def writable_folder(bundle: Bundle) -> Path:
    """The folder that a bundle's choice is written to, made where it does not exist.

    Raises:
        OutputError: neither can be written to.
    """
    for folder in _folders(bundle):
        try:
            folder.mkdir(parents=folder == tuning_folder(), exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    raise OutputError(
        f"{tuning_folder()}: cannot be written to, and so cannot the bundle: set RSVL_CACHE to another folder"
    )


def _folders(bundle: Bundle) -> list[Path]:
    """Where records may lie, the place to write to first."""
    engines = bundle.root / ENGINES
    inside = not bundle.packed and engines.resolve().is_relative_to(bundle.root.resolve())
    return [engines, tuning_folder()] if inside else [tuning_folder()]


def _paths(bundle: Bundle) -> Iterator[Path]:
    for folder in _folders(bundle):
        yield from sorted(folder.glob(f"tuning-{bundle_hash(bundle)[:16]}-*.json"))


def _file_name(choice: Choice) -> str:
    text = json.dumps(asdict(choice.circumstances), sort_keys=True)
    return f"tuning-{choice.bundle[:16]}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"


def _read_all(bundle: Bundle) -> tuple[list[Choice], list[Path]]:
    """The bundle's choices, the newest first, and the files that hold none."""
    digest, graphs = bundle_hash(bundle), [graph.name for graph in bundle.manifest.model.graphs]
    choices, damaged = list[Choice](), list[Path]()
    for path in _paths(bundle):
        choice = _read(path)
        if choice is None or choice.bundle != digest or list(choice.graphs) != graphs:
            damaged.append(path)
        else:
            choices.append(choice)
    return sorted(choices, key=lambda choice: choice.date, reverse=True), damaged


def _read(path: Path) -> Choice | None:
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > _MAX_BYTES:
            return None
        choice = Choice.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return None
    return choice if _file_name(choice) == path.name else None


def _remove(paths: list[Path]) -> int:
    removed = 0
    for path in paths:
        try:
            path.unlink()
            removed += 1
        except FileNotFoundError:
            pass  # another process was faster
        except OSError as error:
            raise OutputError(
                f"{path}: cannot be removed ({error.strerror}): check its folder's permissions"
            ) from error
    return removed


def _tell(bundle: Bundle, why: str) -> None:
    warnings.warn(
        f"{bundle.source}: the choice of rsvl tune {why} and is ignored: run rsvl tune again, or with --forget",
        stacklevel=3,
    )
