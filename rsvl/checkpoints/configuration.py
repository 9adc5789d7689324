"""Reads the configuration that lies beside published weights."""

from __future__ import annotations

import json
from pathlib import Path

from rsvl.modules.encoders.published import Configuration
from rsvl.runtime.errors import CheckpointError

_FILES = (
    "config.json",
    "open_clip_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer_config.json",
    "tokenizer.json",
    "vocab.json",
)
_LARGEST = 64 << 20
"""Most bytes of such a file; tokenizers, the largest, have a few million."""


def read_configuration(folder: Path) -> Configuration:
    """The JSON objects that lie in a folder of published weights, by the names that their publishers give the files.

    Raises:
        CheckpointError: one is damaged, is no object, or no file of a configuration's size.
    """
    return Configuration(folder, {name: _read(folder / name) for name in _FILES if (folder / name).exists()})


def _read(path: Path) -> dict[str, object]:
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST:
            raise ValueError("it is no file of such a size")
        described = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(described, dict):
            raise ValueError("it is no object")
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path} cannot be read as a model's configuration ({error}): download it again"
        ) from error
    return described
