"""What a run found out, as data and as a page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from rsvl.benchmarks.markdown import markdown_table
from rsvl.benchmarks.records import file_stem, keep

MEASURED, SKIPPED, FAILED = "measured", "skipped", "failed"

GPU = "GPU"
"""The row of the part ``machine`` that names it."""

Row = dict[str, Any]
"""What a part yields: names and JSON types."""


@dataclass(frozen=True)
class Outcome:
    """What became of a part.

    Attributes:
        name, title: the part's.
        status: ``measured``; ``skipped`` where something is missing; ``failed`` where it went wrong.
        reason: why it was not measured; empty where it was.
        seconds: how long it took.
        rows: what it found, also what it found before it failed.
    """

    name: str
    title: str
    status: str
    reason: str
    seconds: float
    rows: list[Row]


@dataclass(frozen=True)
class Record:
    """One run.

    Attributes:
        rsvl: the version.
        outcomes: of the parts, in the order in which they ran.
    """

    rsvl: str
    outcomes: tuple[Outcome, ...]

    @property
    def gpu(self) -> str:
        """Its name, as the part ``machine`` found it; empty where there is none."""
        rows = (row for outcome in self.outcomes for row in outcome.rows)
        return next((row["value"] for row in rows if row.get("what") == GPU), "")

    @property
    def failed(self) -> list[Outcome]:
        """Parts that went wrong."""
        return [outcome for outcome in self.outcomes if outcome.status == FAILED]


def markdown(record: Record) -> str:
    """The page: what became of each part, then what each found."""
    return "\n\n".join(_blocks(record)) + "\n"


def kept(record: Record, folder: Path) -> Path:
    """Writes the record as `GPU-gpu.json` and as a page beside it; returns the JSON file's path.

    Raises:
        OutputError: one of them cannot be written.
    """
    return keep({"gpu": record.gpu, **asdict(record)}, markdown(record), folder, file_stem(record.gpu, "gpu"))


def _blocks(record: Record) -> Iterator[str]:
    yield f"# {record.gpu or 'No GPU'}, rsvl {record.rsvl}"
    overview = [[o.name, o.status, o.reason.replace("|", "\\|"), f"{o.seconds:.1f}"] for o in record.outcomes]
    yield markdown_table(["part", "status", "reason", "seconds"], overview, words=3)
    for outcome in record.outcomes:
        if outcome.rows:
            yield f"## {outcome.title}"
        for columns, rows in groupby(outcome.rows, key=tuple):
            yield markdown_table(list(columns), ([_cell(value) for value in row.values()] for row in rows))


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "\\|")
