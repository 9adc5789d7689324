"""`rsvl tune`: which backend and how many threads run each graph of a bundle fastest here, measured and remembered."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rsvl.cli import completion, options
from rsvl.cli.console import print_json, print_line, print_note, print_table, progress
from rsvl.cli.unused_options import refuse_unused

if TYPE_CHECKING:
    from rsvl.runtime.tuning.choice import Choice
    from rsvl.runtime.tuning.tune import Trial, TuneReport

_OF_MEASURING = {"seconds", "providers"}


def tune(
    context: typer.Context,
    bundle: options.Bundle,
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="S", help="How long measuring may take, loading included.")
    ] = 60.0,
    providers: Annotated[
        str | None,
        typer.Option(
            "--providers",
            metavar="NAMES",
            help="What to try beside the default, such as cpu,openvino,openvino-bf16,cuda. Default: cpu, and openvino "
            "where it is installed.",
            autocompletion=completion.provider_lists,
        ),
    ] = None,
    forget: Annotated[
        bool, typer.Option("--forget", help="Remove what was chosen before, and measure nothing.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Choose the fastest backend and threads for each graph of a bundle here, by measurement.

    Every command and rsvl.runtime.load then takes the choice where neither --provider nor
    --threads says otherwise.
    """
    from rsvl.runtime.bundle import Bundle
    from rsvl.runtime.tuning.store import forget as remove

    if forget:
        refuse_unused(context, _OF_MEASURING, "says what to measure, and --forget measures nothing: leave one out")
        removed = remove(Bundle(bundle, check=False))
        if json:
            print_json({"bundle": str(bundle), "forgotten": removed})
        else:
            print_line(f"{bundle}: {removed} choice{'' if removed == 1 else 's'} forgotten")
        return
    from rsvl.runtime.tuning.tune import tune as measure

    names = [name.strip() for name in (providers or "").split(",") if name.strip()]
    with progress(f"measuring {bundle}") as report:
        found = measure(bundle, seconds, names, report)
    if json:
        print_json({"bundle": str(bundle), **choice_as_dict(found.choice), **_trials_as_dict(found)})
        return
    print_table(
        ["graph", "tried", "ms", "of the default's time", "rounds", ""], [_row(trial) for trial in found.trials]
    )
    print_line(f"{bundle}: {found.choice.summary}")
    print_note(f"wrote {found.path}")


def choice_as_dict(choice: Choice) -> dict[str, Any]:
    """A choice, for JSON."""
    return {**choice.to_dict(), "bundle_sha256": choice.bundle, "keeps_default": choice.keeps_default}


def _trials_as_dict(found: TuneReport) -> dict[str, Any]:
    trials = [{**asdict(trial), "won": not trial.why_not} for trial in found.trials]
    return {"file": str(found.path), "seconds": found.seconds, "trials": trials}


def _row(trial: Trial) -> list[str]:
    tried = "as chosen, each graph on its own" if trial.choice is None else str(trial.choice)
    numbers = ["–", "–", "–"]
    if trial.duel is not None:
        numbers = [f"{1e3 * trial.duel.seconds:.2f}", f"{trial.duel.ratio:.2f}", str(trial.duel.rounds)]
    return [trial.graph or "all", tried, *numbers, trial.why_not or "faster"]
