"""The registry of models: a decorator, a dictionary, presets as data.

A model's file registers one builder with its presets::

    @register("cd2fsan", presets={"cd2fsan": FULL, "cd2fsan-tiny": TINY})
    class CD2FSAN(ReferringSegmenter): ...

`create("cd2fsan-tiny")` then calls ``CD2FSAN("cd2fsan-tiny", preset)``.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from rsvl.runtime.errors import UsageError

Builder = TypeVar("Builder", bound=Callable[..., Any])


@dataclass(frozen=True)
class Entry:
    """A registered preset: how to build it and from what."""

    name: str
    family: str
    build: Callable[[str, Any], Any]
    preset: Any


_ENTRIES: dict[str, Entry] = {}


def register(family: str, presets: Mapping[str, Any]) -> Callable[[Builder], Builder]:
    """Registers the decorated builder under each preset's name; the builder is called with (name, preset)."""

    def decorate(build: Builder) -> Builder:
        for name, preset in presets.items():
            _ENTRIES[name] = Entry(name, family, build, preset)
        return build

    return decorate


@cache
def _discover() -> None:
    import rsvl.models

    for module in pkgutil.iter_modules(rsvl.models.__path__):
        importlib.import_module(f"rsvl.models.{module.name}")


def names() -> list[str]:
    """All preset names, sorted."""
    _discover()
    return sorted(_ENTRIES)


def entry(name: str) -> Entry:
    """The registered preset of that name.

    Raises:
        UsageError: no such preset; the message suggests the nearest names.
    """
    _discover()
    if name not in _ENTRIES:
        near = difflib.get_close_matches(name, _ENTRIES, n=3, cutoff=0.4) or sorted(_ENTRIES)
        raise UsageError(f"unknown model {name!r}: did you mean {' or '.join(near)}? (rsvl models lists all)")
    return _ENTRIES[name]


def create(name: str) -> Any:
    """Builds a preset with freshly initialised weights (no checkpoint is read)."""
    found = entry(name)
    return found.build(name, found.preset)
