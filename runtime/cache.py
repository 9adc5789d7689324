"""The folder where rsvl caches what takes time to compute: `$RSVL_CACHE`, or `~/.cache/rsvl`."""

from __future__ import annotations

import os
from pathlib import Path

CACHE = "RSVL_CACHE"
"""The environment variable that names another folder."""


def cache_folder() -> Path:
    """The folder of everything that may be deleted at any time; it need not exist yet."""
    return Path(os.environ.get(CACHE) or Path.home() / ".cache" / "rsvl")
