"""The process of one part: `python -m rsvl.benchmarks.laboratory.gpu.child MODULE:FUNCTION ROWS SCRATCH [ARGUMENT…]`.

Each row is written to the file ROWS, a JSON line each, as soon as it is yielded. A missing component is one line on
stderr and exit code 3.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from rsvl.runtime.errors import MissingComponentError, RsvlError


def main(arguments: Sequence[str]) -> int:
    """Runs the part; only rsvl's own errors and missing packages are caught."""
    function, rows, scratch, *others = arguments
    module, _, name = function.partition(":")
    try:
        with Path(rows).open("w", encoding="utf-8") as file:
            for row in getattr(import_module(module), name)(Path(scratch), *others):
                print(json.dumps(row), file=file, flush=True)
    except RsvlError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("rsvl"):
            raise
        print(f"{error.name} is not installed", file=sys.stderr)
        return MissingComponentError.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
