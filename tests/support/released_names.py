"""The entries of released checkpoints: names and shapes, as their authors' code has them."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

State = dict[str, Tensor]


def read_names(path: Path) -> Iterator[tuple[str, State]]:
    """Each model's entries, without memory for their values. A line has a name and a shape; a title starts with #."""
    text = gzip.decompress(path.read_bytes()).decode()
    for part in text.removeprefix("# ").split("\n# "):
        name, *lines = part.strip().split("\n")
        shapes = {key: [int(side) for side in sides] for key, *sides in map(str.split, lines)}
        yield name, {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
