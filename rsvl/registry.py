"""The registry of models: a decorator, a dictionary, presets as data.

A model's file registers one builder with its presets::

    @register("cd2fsan", presets={"cd2fsan": FULL, "cd2fsan-tiny": TINY})
    class CD2FSAN(ReferringSegmenter): ...

`create("cd2fsan-tiny")` then calls ``CD2FSAN("cd2fsan-tiny", preset)``. A file may also declare
``ablations(preset)``, the presets with a module switched off or exchanged, by their names.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
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
        near = difflib.get_close_matches(name, _ENTRIES, n=3, cutoff=0.6)
        hint = f"did you mean {' or '.join(near)}? (rsvl models lists all)" if near else "rsvl models lists them all"
        raise UsageError(f"unknown model {name!r}: {hint}")
    return _ENTRIES[name]


def create(name: str, ablation: str | None = None) -> Any:
    """Builds a model with freshly initialised weights (no checkpoint is read).

    Args:
        name: a preset, or ``package.module:callable`` for a user-defined module, found from the current folder or
            the Python path; the callable returns it, with whatever weights it gives it.
        ablation: one of the `ablations` of that preset's file; None for the preset itself.

    Raises:
        UsageError: no such preset (the nearest are suggested), or it has no such ablation; or a module that cannot be
            imported or built.

    Examples:
        >>> from rsvl import registry
        >>> "cd2fsan-tiny" in registry.names()
        True
        >>> model = registry.create("cd2fsan-tiny")
        >>> model.spec.text.tokens
        22
    """
    if is_user_factory(name):
        return _user_model(name)
    found = entry(name)
    if ablation is None:
        return found.build(name, found.preset)
    if ablation not in ablations(name):
        raise UsageError(
            f"{name} has no ablation {ablation!r}: {', '.join(ablations(name)) or 'its file declares none'}"
        )
    return found.build(name, ablations(name)[ablation])


def ablations(name: str) -> dict[str, Any]:
    """A preset's ablations by their names, as its file's `ablations` declares them; empty where it has none.

    Raises:
        UsageError: no such preset.
    """
    found = entry(name)
    declare = getattr(importlib.import_module(found.build.__module__), "ablations", None)
    return dict(declare(found.preset)) if declare else {}


def is_user_factory(name: str) -> bool:
    """Whether a name is ``package.module:callable`` and not a preset's."""
    return ":" in name


def _user_model(name: str) -> Any:
    from rsvl.modules.bases.exportable import ExportableModel

    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise UsageError(f"{name!r} is not of the form package.module:callable")
    build = _attribute(_module(module), attribute)
    if not callable(build):
        raise UsageError(f"{name} is a {type(build).__name__}: name a callable that returns the model")
    try:
        model = build()
    except Exception as error:
        raise UsageError(f"{name} failed ({_said(error)}): call it in Python to see where") from error
    if not isinstance(model, ExportableModel):
        raise UsageError(
            f"{name} gave a {type(model).__name__}, not an ExportableModel: derive it from "
            "rsvl.modules.bases.exportable.ExportableModel"
        )
    if not hasattr(model, "spec"):
        raise UsageError(f"{name} gave a model that declares nothing: set its attribute spec to a ModelSpec")
    return model


def _module(name: str) -> Any:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise UsageError(
                f"no module {name!r} in {here} or on the Python path: go there or set PYTHONPATH"
            ) from error
        raise UsageError(f"{name} needs {error.name}, which is not installed: install it") from error
    except Exception as error:
        raise UsageError(f"{name} cannot be imported ({_said(error)}): import it in Python to see where") from error


def _attribute(module: Any, name: str) -> Any:
    if not hasattr(module, name):
        near = difflib.get_close_matches(name, dir(module), n=2, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else "name a callable that returns the model"
        raise UsageError(f"{module.__name__} has no {name!r}: {hint}")
    return getattr(module, name)


def _said(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
