"""The result of counting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rsvl.runtime.results.base import Result


@dataclass(frozen=True)
class Count(Result):
    """How many objects are in an image."""

    count: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values ready for JSON."""
        return {"count": self.count}

    def lines(self) -> list[str]:
        """The number of objects."""
        return [f"{self.count} objects"]
