"""Options that were given and would have no effect: reported, not ignored."""

from __future__ import annotations

from collections.abc import Collection

import typer

from rsvl.runtime.errors import UsageError


def refuse_unused(context: typer.Context, names: Collection[str], why: str) -> None:
    """Refuses options that the command line holds, whatever their defaults are.

    Args:
        context: the command's.
        names: of the command's parameters.
        why: follows the first that was given in the message: why it has no effect, and the remedy.

    Raises:
        UsageError: one of them was given.
    """
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name in names and source is not None and source.name == "COMMANDLINE":
            raise UsageError(f"{'/'.join((parameter.opts[0], *parameter.secondary_opts))} {why}")
