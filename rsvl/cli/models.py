"""`rsvl models`: the registry."""

from __future__ import annotations

from typing import Any

from rsvl.cli import options
from rsvl.cli.console import print_json, print_table


def models(json: options.Json = False) -> None:
    """List the models: task, parameters, input sizes, paper."""
    found = [_describe(name) for name in _names()]
    if json:
        print_json({"models": found})
        return
    rows = [
        [m["name"], m["task"], f"{m['parameters'] / 1e6:.2f} M", _cell(m["image_size"]), _cell(m["tokens"]), m["paper"]]
        for m in found
    ]
    print_table(["name", "task", "params", "image px", "tokens", "paper"], rows)


def _names() -> list[str]:
    from rsvl import registry

    return registry.names()


def _describe(name: str) -> dict[str, Any]:
    import torch

    from rsvl import registry

    with torch.device("meta"):  # shapes without memory: the largest model is counted at once
        model = registry.create(name)
    return {
        "name": name,
        "task": model.spec.task,
        "parameters": sum(p.numel() for p in model.parameters()),
        "image_size": model.spec.images[0].size if model.spec.images else None,
        "tokens": model.spec.text.tokens if model.spec.text else None,
        "paper": model.spec.paper,
    }


def _cell(value: int | None) -> str:
    return "–" if value is None else str(value)
