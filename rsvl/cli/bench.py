"""`rsvl bench`: a paper's table beside what is counted here."""

from __future__ import annotations

from typing import Annotated

import typer

from rsvl.cli import options
from rsvl.cli.console import print_json, progress


def bench(
    table: Annotated[str, typer.Option("--table", help="The paper's table: cd2fsan or cadformer.")],
    json: options.Json = False,
) -> None:
    """Show a paper's table beside what is counted here.

    Prints Markdown: parameters and FLOPs, published and ours, in every convention of counting.
    """
    from rsvl.benchmarks import table as counted

    with progress(f"counting the models of {table}"):
        found = counted(table)
    if json:
        print_json(found.to_dict())
    else:
        typer.echo(found.to_markdown(), nl=False)
