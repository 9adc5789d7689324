"""`python -m rsvl`, and what the command `rsvl` calls."""

from __future__ import annotations

import sys


def main() -> int:
    """Runs the command and returns its exit code. Ctrl-C before its modules are imported is one line, too."""
    try:
        from rsvl.cli import main as command
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130
    return command()


if __name__ == "__main__":
    sys.exit(main())
