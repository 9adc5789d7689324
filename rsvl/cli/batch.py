"""Several images, one after the other: one that fails does not cost the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rsvl.cli.console import print_error, print_json
from rsvl.cli.error_messages import explain
from rsvl.cli.places import Place
from rsvl.runtime.errors import IncompleteError, UsageError

_KEYS = {"optical": "image", "sar": "sar"}
"""Where the JSON has a place's images, by sensor."""


def run_batch(
    places: Sequence[Place], work: Callable[[Place], dict[str, Any]], json_lines: bool = False
) -> tuple[list[dict[str, Any]], list[Place]]:
    """Does the same with each place, and goes on where one fails.

    What every place would fail of ends the batch: wrong usage. So does the failure of the only place.

    Args:
        places: at least one.
        work: what is done; gives what the JSON says of the place.
        json_lines: whether to print one JSON object per line on stdout as each is done, with ``error`` where it failed.

    Returns:
        What the JSON says of each place, ``error`` and ``exit_code`` of one that failed; and those that failed.
    """
    answers, failed = [], []
    for place in places:
        about: dict[str, Any] = {"image": None, **{_KEYS[key]: str(path) for key, path in place.images.items()}}
        error: Exception | None = None
        try:
            about |= work(place)
        except (UsageError, BrokenPipeError):
            raise
        except Exception as raised:
            error, message = raised, explain(raised)
            about |= {"error": message.line, "exit_code": message.exit_code}
        if json_lines:
            print_json(about)
        answers.append(about)
        if error is None:
            continue
        if len(places) == 1:
            raise error
        failed.append(place)
        named = any(str(path) in message.line for path in place.images.values())
        print_error(message.line if named else f"{place.name}: {message.line}")
    return answers, failed


def check_all_done(failed: Sequence[Place], count: int, skipped: Sequence[str] = ()) -> None:
    """Ends a command whose batch is not whole.

    Args:
        failed: the places that failed.
        count: of all places.
        skipped: the images of which tiles failed, each with their number.

    Raises:
        IncompleteError: some places failed, or tiles of them.
    """
    if failed:
        raise IncompleteError(
            f"{len(failed)} of {count} images failed: the reasons are above, the others' results are whole"
        )
    if skipped:
        raise IncompleteError(
            f"tiles failed and count as no data, of {', '.join(skipped)}: the reasons are above, the rest is whole"
        )
