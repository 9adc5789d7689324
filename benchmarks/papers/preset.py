"""The model of a published row: a preset of the registry, or an ablation that its file declares."""

from __future__ import annotations

import importlib
from typing import Any

from rsvl.registry import create, entry


def build(model: str, ablation: str | None = None) -> Any:
    """Builds a row's model with fresh weights.

    Args:
        model: as `rsvl.registry.create` takes it.
        ablation: a key of the `ablations()` of that preset's file; None for the preset itself.

    Raises:
        UsageError: no such preset.
    """
    if ablation is None:
        return create(model)
    found = entry(model)
    return found.build(model, importlib.import_module(found.build.__module__).ablations()[ablation])
