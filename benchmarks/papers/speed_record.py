"""The speed of a table's models on one machine, kept as a file that the table is shown with on that machine."""

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
    """The speeds measured by one run.

    Attributes:
        table: the table's name.
        hardware: what the bundle ran on.
        threads: CPU threads.
        rounds: timing rounds.
        rows: latency for one image and one sentence, by row and runner.
        machine: everything known about the machine.
    """

    table: str
    hardware: str
    threads: int
    rounds: int
    rows: dict[str, dict[str, Percentiles]]
    machine: dict[str, str]

    def fps(self, row: str) -> dict[str, float]:
        """Images per second by runner, at the median latency; empty for a row that was not measured."""
        return {runner: times.per_second for runner, times in self.rows.get(row, {}).items()}


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
    """The record of a table on this hardware, if there is one.

    Raises:
        InputError: the file of that name is not a record.
    """
    path = _path(table, hardware(), folder)
    return _read(path) if path.is_file() else None


def _path(table: str, ran_on: str, folder: Path) -> Path:
    return folder / f"{file_stem(ran_on, 'table', table)}.json"


def _read(path: Path) -> TableSpeed:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        rows = {
            row: {runner: Percentiles(**times) for runner, times in runners.items()}
            for row, runners in data.pop("rows").items()
        }
        return TableSpeed(**data, rows=rows)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not a record of speeds ({error!r}): measure again with --speed") from error
