"""Tables that rename the entries of published checkpoints."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

Rules: TypeAlias = tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]
"""Regular expressions and what each becomes; every rule is applied, in order, wherever it matches."""


def renamed(key: str, rules: Rules) -> str:
    """The name of an entry after all rules."""
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key
