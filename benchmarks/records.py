"""Saving measurements: a JSON file for programs, and the same as a Markdown page beside it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from rsvl.runtime.atomic import write_text

RESULTS = Path("benchmarks/results")
"""The project's own records, relative to the current folder."""


def keep(data: dict[str, Any], page: str, folder: Path, stem: str) -> Path:
    """Writes `STEM.json` and `STEM.md`.

    Args:
        data: plain JSON types.
        page: Markdown.
        folder: created if it does not exist.
        stem: the file name, see `file_stem`.

    Returns:
        The path of the JSON file.

    Raises:
        OutputError: one of them cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}.json"
    write_text(path, json.dumps(data, indent=2) + "\n")
    write_text(path.with_suffix(".md"), page)
    return path


def file_stem(*words: str) -> str:
    """A file name made of words: lower-case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", " ".join(words).lower()).strip("-")
