"""Measuring in a separate process, where a result depends on how the process starts or on all that it has allocated."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from rsvl.runtime.errors import InputError, MissingComponentError, RsvlError

_KINDS = {kind.exit_code: kind for kind in (InputError, MissingComponentError)}


def run_json(
    arguments: Sequence[str], failed: str, environment: Mapping[str, str] | None = None, without: Collection[str] = ()
) -> Any:
    """Runs another interpreter and reads the JSON that it prints.

    Args:
        arguments: of its command line, such as ``-m`` and a module's name.
        failed: the error message if it fails, before its own last line.
        environment: variables beside those of this process.
        without: variables of this process that it does not get.

    Raises:
        RsvlError: it failed; the class follows its exit code.
    """
    command = [sys.executable, *arguments]
    kept = {name: value for name, value in os.environ.items() if name not in without}
    done = subprocess.run(command, capture_output=True, text=True, env=kept | dict(environment or {}))
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise _KINDS.get(done.returncode, RsvlError)(f"{failed}: {reason}")
    return json.loads(done.stdout)
