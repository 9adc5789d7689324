"""The results of a run, as data and as Markdown."""

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
    """The outcome of a part.

    Attributes:
        name, title: the part's.
        status: ``measured``; ``skipped`` if something is missing; ``failed`` if it raised, crashed or hung.
        reason: why it was not measured; empty if it was.
        seconds: its duration.
        rows: its measurements, including those before it failed.
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
        outcomes: of the parts, in order.
    """

    rsvl: str
    outcomes: tuple[Outcome, ...]

    @property
    def gpu(self) -> str:
        """Its name, from the part ``machine``; empty if there is none."""
        rows = (row for outcome in self.outcomes for row in outcome.rows)
        return next((row["value"] for row in rows if row.get("what") == GPU), "")

    @property
    def failed(self) -> list[Outcome]:
        """Parts that failed."""
        return [outcome for outcome in self.outcomes if outcome.status == FAILED]


def markdown(record: Record) -> str:
    """The page: the outcome of each part, then the rows of each."""
    return "\n\n".join(_blocks(record)) + "\n"


def kept(record: Record, folder: Path) -> Path:
    """Saves the record as `GPU-gpu.json` with a page beside it; returns the path of the JSON file.

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
