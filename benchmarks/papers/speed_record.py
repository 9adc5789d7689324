"""What was measured of a table's models on one machine, kept as a file that the table is shown with there."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from rsvl.benchmarks.machine import hardware
from rsvl.benchmarks.records import RESULTS, file_stem
from rsvl.benchmarks.timing import Percentiles
from rsvl.runtime.atomic import write_text
from rsvl.runtime.errors import InputError


@dataclass(frozen=True)
class TableSpeed:
    """What one run measured.

    Attributes:
        table: the table's name.
        hardware: what the bundle ran on.
        threads: CPU threads.
        rounds: how often each way was timed.
        rows: by row and way, milliseconds for one image and one sentence.
        machine: all that is known of the machine.
    """

    table: str
    hardware: str
    threads: int
    rounds: int
    rows: dict[str, dict[str, Percentiles]]
    machine: dict[str, str]

    def fps(self, row: str) -> dict[str, float]:
        """Images a second of each way, by the median; empty for a row that was not measured."""
        return {way: times.per_second for way, times in self.rows.get(row, {}).items()}


def keep(speed: TableSpeed, folder: Path = RESULTS) -> Path:
    """Writes a record as `HARDWARE-table-NAME.json`; returns its path.

    Raises:
        OutputError: it cannot be written.
    """
    path = _path(speed.table, speed.hardware, folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(asdict(speed), indent=2) + "\n")
    return path


def recorded(table: str, folder: Path = RESULTS) -> TableSpeed | None:
    """The record of a table that this very hardware made, if there is one.

    Raises:
        InputError: a file of that name that is no record.
    """
    path = _path(table, hardware(), folder)
    return _read(path) if path.is_file() else None


def _path(table: str, ran_on: str, folder: Path) -> Path:
    return folder / f"{file_stem(ran_on, 'table', table)}.json"


def _read(path: Path) -> TableSpeed:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        rows = {
            row: {way: Percentiles(**times) for way, times in ways.items()} for row, ways in data.pop("rows").items()
        }
        return TableSpeed(**data, rows=rows)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not a record of speeds ({error!r}): measure again with --speed") from error
