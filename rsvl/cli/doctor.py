"""`rsvl doctor`: what this machine has, what is missing, what that costs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from rsvl.cli import options
from rsvl.cli.console import print_json, print_table


def doctor(
    bundle: Annotated[
        Path | None, typer.Argument(metavar="[BUNDLE]", help="Also show what runs this bundle here.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Show what this machine has, what is missing, what that costs."""
    import rsvl
    from rsvl.runtime.doctor import examine, examine_bundle

    findings = examine()
    if bundle is not None:
        findings += examine_bundle(bundle)
    if json:
        print_json({"rsvl": rsvl.__version__, "findings": [asdict(finding) for finding in findings]})
        return
    print_table(["here", "what it is"], [[f.name, f.value] for f in findings if f.present])
    absent = [[f.name, f.cost, f.remedy or "–", _size(f.mb)] for f in findings if not f.present]
    if absent:
        print_table(["missing", "what that costs", "remedy", "MB"], absent)


def _size(mb: int | None) -> str:
    return "" if mb is None else str(mb)
