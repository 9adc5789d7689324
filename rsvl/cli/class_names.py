"""`rsvl export --classes`: names for the classes of a model whose checkpoint has none."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from rsvl.runtime.errors import InputError, UsageError


def name_classes(network: Any, file: Path | None) -> None:
    """Gives a scene classifier's classes the names in a file, one per line; without a file, says if they have none.

    Args:
        network: any model; only a `ClassificationModel` has classes.
        file: a text file, or none.

    Raises:
        UsageError: a file for a model that has no classes, or of another number of names.
        InputError: a file that cannot be read.
    """
    if not hasattr(network, "name_classes"):
        if file is not None:
            raise UsageError(f"{network.spec.name} has no classes of its own: leave --classes out")
        return
    if file is not None:
        network.name_classes(_names(file))
    elif not network.spec.classes:
        warnings.warn(
            "nothing says what the classes are called: they are class 0, class 1 …; name them with --classes FILE",
            stacklevel=2,
        )


def _names(file: Path) -> list[str]:
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read as text ({error}): give one class name per line") from error
    return [line.strip() for line in lines if line.strip()]
