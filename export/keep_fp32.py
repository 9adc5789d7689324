"""Which parts of a model stay float32 in other precisions: submodules by path or pattern, with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase


def matching_pattern(path: str, kept: Mapping[str, str]) -> str | None:
    """The first of the patterns that names the submodule at `path` or a part that it lies in."""
    return next((p for p in kept if path and (fnmatchcase(path, p) or fnmatchcase(path, f"{p}.*"))), None)
