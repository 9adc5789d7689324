"""What the shell offers after TAB: names of models, datasets, tables, providers and targets.

`rsvl --install-completion` sets it up. Nothing here may fail or be slow: a shell waits for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

MODELS = "models.json"
"""In the cache folder: the names of the models, and the state of their files when they were listed."""


def models(incomplete: str) -> list[str]:
    """Names of models; none where PyTorch is not installed."""
    try:
        return _starting(_model_names(), incomplete)
    except ImportError:
        return []


def datasets(incomplete: str) -> list[str]:
    """Names of datasets."""
    from rsvl.data.catalog import DATASETS

    return _starting(DATASETS, incomplete)


def tables(incomplete: str) -> list[str]:
    """Names of the papers' tables."""
    from rsvl.benchmarks.papers.published import tables as names

    return _starting(names(), incomplete)


def providers(incomplete: str) -> list[str]:
    """Names that --provider takes."""
    from rsvl.runtime.backends.session import provider_names

    return _starting(provider_names(), incomplete)


def provider_lists(incomplete: str) -> list[str]:
    """Names that --providers takes, after what is there and a comma."""
    begun, comma, last = incomplete.rpartition(",")
    return [f"{begun}{comma}{name}" for name in providers(last) if name != "tuned"]


def targets(incomplete: str) -> list[str]:
    """Names that --target takes."""
    from rsvl.runtime.backends.tensorrt.keys import ANY
    from rsvl.runtime.backends.tensorrt.targets import HERE, TARGETS

    return _starting([HERE, ANY, *TARGETS], incomplete)


def _starting(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _model_names() -> list[str]:
    """The registry's names, which take seconds to list because models import PyTorch: remembered on disk."""
    from rsvl import registry
    from rsvl.runtime.cache import cache_folder

    path, state = cache_folder() / MODELS, _state()
    with suppress(OSError, ValueError, TypeError, KeyError):
        known = json.loads(path.read_text(encoding="utf-8"))
        if known["state"] == state:
            return [str(name) for name in known["names"]]
    names = registry.names()
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"state": state, "names": names}), encoding="utf-8")
    return names


def _state() -> list[object]:
    """The version and the newest change among the models' files: with another, the names are listed again."""
    import rsvl

    files = (Path(rsvl.__file__).parent / "models").rglob("*.py")
    return [rsvl.__version__, max(file.stat().st_mtime_ns for file in files)]
