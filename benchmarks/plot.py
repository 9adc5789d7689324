"""Saving Matplotlib figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rsvl.runtime.atomic import replacing
from rsvl.runtime.errors import MissingComponentError, UsageError
from rsvl.runtime.extras import remedy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg")
_DPI = 160


def check_drawable(path: Path) -> None:
    """Checks, before any work, whether a plot can be drawn.

    Raises:
        UsageError: the suffix is not one of `FORMATS`.
        MissingComponentError: Matplotlib is not installed.
    """
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"{path.name}: a plot is a {' or '.join(FORMATS)} file")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingComponentError(f"a plot needs Matplotlib: {remedy('matplotlib')}") from error


def save(figure: Figure, path: Path) -> None:
    """Writes a figure in the format of the path's suffix.

    Raises:
        OutputError: it cannot be written.
    """
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:].lower(), dpi=_DPI)
