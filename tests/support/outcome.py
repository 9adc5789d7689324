"""What a command left behind, as the tests ask about it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON object on stdout; fails if there is anything else."""
        assert self.out, self.err
        data = json.loads(self.out)
        assert isinstance(data, dict)
        return data

    @property
    def error(self) -> str:
        """The one line that says why the command failed; fails if stdout has anything or stderr more errors."""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert self.out == "" and len(lines) == 1 and self.err.endswith(f"{lines[0]}\n") and "Traceback" not in self.err
        return lines[0]


Rsvl = Callable[..., Outcome]
