"""What the commands show: results on stdout, as tables or as one JSON object; errors, warnings, progress on stderr."""

from __future__ import annotations

import io
import json
import math
import sys
import time
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich import progress as bars
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from rsvl.runtime.progress import Progress

#: Width of tables that go to a file or a pipe, where nothing has to fit a window.
_PIPE_WIDTH = 200
_SECONDS_BETWEEN_LINES = 10


def print_json(data: dict[str, Any]) -> None:
    """Prints a command's one JSON object; what is not finite, which JSON has no word for, becomes null."""
    print(json.dumps(finite(data), allow_nan=False), flush=True)


def finite(value: Any) -> Any:
    """Plain values with None for what is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    return [finite(each) for each in value] if isinstance(value, list | tuple) else value


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
    """Prints a table; columns after the first whose cells are all numbers are set flush right."""
    shown = printable(title) or None
    table = Table(title=shown, title_justify="left", title_style="bold", box=SIMPLE_HEAD, show_edge=False)
    for i, column in enumerate(columns):
        numbers = bool(i and rows) and all(_is_number(row[i]) for row in rows)
        table.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(printable, row))
    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, markup=False, highlight=False, emoji=False)
    with console.capture() as capture:
        console.print(table)
    print("\n".join(line.rstrip() for line in capture.get().splitlines()))


def printable(text: str) -> str:
    """Text without what a terminal would obey: control characters are shown as codes."""
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    hidden = unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp") and character not in "\n\t\u200c\u200d"
    return character.encode("unicode_escape").decode("ascii") if hidden else character


def print_line(line: str, end: str = "\n") -> None:
    """Prints a result for people on stdout."""
    print(printable(line), end=end)


def print_note(line: str) -> None:
    """Prints a line about the work, not its result, on stderr."""
    print(printable(line), file=sys.stderr)


def print_error(line: str) -> None:
    """Prints why the command failed."""
    print(f"error: {printable(line)}", file=sys.stderr)


@contextmanager
def progress(what: str) -> Iterator[Progress]:
    """A progress bar on stderr while the block runs; in a log or a pipe a plain line now and then instead."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _PlainLines(what)
        return
    columns = (
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(),
        bars.TaskProgressColumn(),
        bars.TimeRemainingColumn(),
    )
    # Results that go to a file must not be caught and shown above the bar.
    with bars.Progress(*columns, console=console, transient=True, redirect_stdout=sys.stdout.isatty()) as shown:
        yield _Bar(shown, what)


class _Bar:
    def __init__(self, shown: bars.Progress, stage: str) -> None:
        self._shown, self._stage = shown, stage
        self._task = shown.add_task(stage, total=None)

    def __call__(self, done: float, total: float, stage: str = "", detail: str = "") -> None:
        self._stage = stage or self._stage
        self._shown.update(self._task, completed=done, total=total, description=f"{self._stage} {detail}".rstrip())


class _PlainLines:
    """A line when a stage begins, and one every few seconds in a long one."""

    def __init__(self, stage: str) -> None:
        self._stage, self._last = stage, time.monotonic()

    def __call__(self, done: float, total: float, stage: str = "", detail: str = "") -> None:
        begins = bool(stage) and stage != self._stage
        if not begins and time.monotonic() - self._last < _SECONDS_BETWEEN_LINES:
            return
        self._stage, self._last = stage or self._stage, time.monotonic()
        share = f" ({done / total:.0%})" if total else ""
        print_note(f"{self._stage}{share} {detail}".rstrip())


@contextmanager
def one_line_warnings() -> Iterator[None]:
    """Shows rsvl's own warnings as one line each, and no other library's."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        print(f"warning: {printable(' '.join(str(message).split()))}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("default", category=UserWarning, module=r"rsvl(\.|$)")
        warnings.showwarning = show
        yield


def tolerate_missing_characters() -> None:
    """Lets a terminal that lacks a character show a question mark for it instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _is_number(cell: str) -> bool:
    return cell == "–" or cell[:1].isdigit()
