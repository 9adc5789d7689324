"""Measuring in a process of its own: what depends on how a process starts, or on all that it ever held."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rsvl.runtime.errors import InputError, MissingComponentError, RsvlError

_KINDS = {kind.exit_code: kind for kind in (InputError, MissingComponentError)}


def answer(arguments: Sequence[str], failed: str, environment: Mapping[str, str] | None = None) -> Any:
    """What another interpreter prints as JSON.

    Args:
        arguments: of its command line, such as ``-m`` and a module's name.
        failed: what to say when it fails; its last line is put behind that.
        environment: variables beside those of this process.

    Raises:
        RsvlError: it failed; of the class that its exit code stands for, so that ours is the same.
    """
    command = [sys.executable, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | dict(environment or {}))
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise _KINDS.get(done.returncode, RsvlError)(f"{failed}: {reason}")
    return json.loads(done.stdout)
