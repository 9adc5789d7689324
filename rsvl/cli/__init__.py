"""The `rsvl` command. One file per command; they share `options` (arguments), `completion` (what the shell offers),
`unused_options` and `outputs` (what is refused before the work), `console` (output) and `error_messages`.

Only typer and rich are imported here. Each command imports what it needs when it runs, so that `rsvl run`, `check` and
`doctor` work without PyTorch and `rsvl --help` is quick.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Annotated, NoReturn

import typer

import rsvl
from rsvl.cli import (
    bench,
    calibrate,
    check,
    doctor,
    engine,
    eval,
    export,
    gate,
    info,
    models,
    paper,
    quantize,
    run,
    serve,
    synth,
    train,
    triton,
    tune,
    watch,
)
from rsvl.cli.console import one_line_warnings, print_error, tolerate_missing_characters
from rsvl.cli.error_messages import INTERRUPTED, Terminated, explain

app = typer.Typer(name="rsvl", pretty_exceptions_enable=False, rich_markup_mode="rich")

for command in (
    models.models,
    synth.synth,
    train.train,
    export.export,
    quantize.quantize,
    info.info,
    engine.engine,
    tune.tune,
    calibrate.calibrate,
    check.check,
    run.run,
    watch.watch,
    serve.serve,
    triton.triton,
    eval.eval_,
    gate.gate,
    bench.bench,
    paper.paper,
    doctor.doctor,
):
    app.command(command.__name__.rstrip("_"))(command)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"rsvl {rsvl.__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _map(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Remote-sensing vision-language models from PyTorch to a bundle that runs on a satellite, a drone or a server.

    Exit codes: 0 done, 1 what was asked for failed, 2 wrong usage or unusable input, 3 a needed component is missing,
    4 a gate is undecided.
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)


@contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """Lets SIGTERM, which service managers and containers send, end a command as Ctrl-C does: temporary files go."""

    def end(number: int, frame: FrameType | None) -> NoReturn:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():  # only there can signals be caught
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code; every error becomes one line on stderr here and nowhere else.

    Args:
        arguments: what follows `rsvl`; by default the process's own.
    """
    tolerate_missing_characters()
    with one_line_warnings(), _ending_on_sigterm():
        try:
            code = app(arguments, standalone_mode=False, prog_name="rsvl") or 0
        except (KeyboardInterrupt, Terminated, Exception) as error:
            message = explain(error)
            if message.line:
                print_error(message.line)
            return message.exit_code
        if code == INTERRUPTED.exit_code:  # typer turns Ctrl-C into this code and says nothing
            print_error(INTERRUPTED.line)
        return int(code)
