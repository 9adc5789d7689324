"""Shares of counts, and their plain values for JSON."""

from __future__ import annotations

import math
from typing import Any


def share(part: float, whole: float) -> float:
    """The quotient; NaN for a part of nothing."""
    return part / whole if whole else math.nan


def plain(values: dict[str, Any]) -> dict[str, Any]:
    """The values with None for NaN, as JSON has no NaN."""
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in values.items()}
