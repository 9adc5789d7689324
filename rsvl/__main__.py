"""`python -m rsvl`: the `rsvl` command."""

import sys

from rsvl.cli import main

sys.exit(main())
