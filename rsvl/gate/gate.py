"""The whole gate: two bundles, or one and a record, asked the same, compared and judged."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rsvl.data.records import Split
from rsvl.gate.comparison import compare
from rsvl.gate.limits import Limits
from rsvl.gate.measurement import Conditions, Measurement, check_conditions, read_record
from rsvl.gate.resources import LEAST_ROUNDS, latency_line, size_line
from rsvl.gate.verdict import Line, Status, Verdict
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.check import read_golden
from rsvl.runtime.errors import UsageError
from rsvl.runtime.loading import load
from rsvl.runtime.progress import Progress, silent
from rsvl.runtime.tasks.runner import Runner
from rsvl.tasks import evaluation_of, open_split
from rsvl.tasks.contract import Evaluation, Seen


@dataclass(frozen=True)
class Asked:
    """What both are asked, and how they are run.

    Attributes:
        data: the data set's name.
        root: the folder of its files as published.
        split: of the data set.
        limit: only the first so many images; None for all.
        sensor: only what this sensor shows; None for all.
        rounds: how often each bundle is timed; 0 for no timing.
        provider: of ONNX Runtime, as `rsvl.runtime.load` takes it.
        threads: CPU threads likewise.
    """

    data: str
    root: Path
    split: str = "test"
    limit: int | None = None
    sensor: str | None = None
    rounds: int = 21
    provider: str | None = None
    threads: int | None = None


def gate(
    bundle: Path, baseline: Path, asked: Asked, limits: Limits, progress: Progress = silent
) -> tuple[Verdict, Measurement]:
    """Compares a bundle with its baseline.

    Args:
        bundle: what is judged, a bundle's folder or `.rsvl` file.
        baseline: what it is held to: a bundle, or a `.json` file of a recorded measurement.
        asked: what both are asked.
        limits: how much worse the bundle may be.
        progress: called as the work goes on.

    Returns:
        The verdict, and the bundle's own measurement, to be recorded.

    Raises:
        UsageError: a baseline of another model, task, data set, split or number of images; limits that cannot be
            checked.
        InputError: a bundle, record or data set that cannot be used, or too few images to tell anything.
    """
    if 0 < asked.rounds < LEAST_ROUNDS or asked.rounds < 0:
        raise UsageError(f"--rounds is 0 for no timing, or {LEAST_ROUNDS} or more")
    recorded = read_record(baseline) if baseline.suffix == ".json" else None
    _check_limits(limits, asked, recorded)
    other = _Model(Bundle(bundle), asked)
    if recorded is not None:
        check_conditions(recorded.conditions, other.conditions, recorded.target)
        found = other.measure(progress)
        before, lines = recorded, _size(recorded, found, limits)
    else:
        theirs = Bundle(baseline)
        check_conditions(_conditions(theirs, asked), other.conditions, str(baseline))  # before its data are opened
        held_to = _Model(theirs, asked)
        before, found = held_to.measure(progress), other.measure(progress)
        lines = [*_latency(held_to, other, asked, limits, progress), *_size(before, found, limits)]
    compared = compare(before, found, other.evaluation.agreement, limits)
    lines = [*compared, *lines]
    verdict = Verdict(
        bundle=_called(found),
        baseline=_called(before),
        figure=found.figure,
        conditions=asdict(found.conditions),
        lines=tuple(lines),
        remarks=tuple(_remarks(lines)),
    )
    return verdict, found


class _Model:
    """A loaded bundle and what it is asked."""

    def __init__(self, bundle: Bundle, asked: Asked) -> None:
        self.bundle = bundle
        spec = bundle.manifest.model
        self.asked = asked
        self.evaluation: Evaluation = evaluation_of(spec.task)
        self.dataset: Split[Any] = open_split(spec.task, asked.data, asked.root, asked.split)
        self.runner: Runner = load(self.bundle, asked.provider, asked.threads)
        self.conditions = _conditions(bundle, asked)

    def measure(self, progress: Progress) -> Measurement:
        """Asks it all that its task's evaluation asks of the data set."""
        seen: list[Seen] = []
        what = f"asking {self.bundle.source} on {self.runner.provider}"
        self.evaluation.evaluate(
            self.evaluation.runner_predictor(self.runner),
            self.dataset,
            self.asked.limit,
            progress=lambda done, total: progress(done, total, what),
            sensor=self.asked.sensor,
            observe=seen.append,
        )
        return Measurement(
            target=str(self.bundle.source),
            precision=self.bundle.manifest.precision,
            runs_on=self.runner.provider,
            size=self.bundle.size,
            conditions=self.conditions,
            figure=self.evaluation.BEST,
            samples=tuple(seen),
        )


def _conditions(bundle: Bundle, asked: Asked) -> Conditions:
    spec = bundle.manifest.model
    return Conditions(spec.name, spec.task, asked.data, asked.split, asked.limit, asked.sensor)


def _check_limits(limits: Limits, asked: Asked, recorded: Measurement | None) -> None:
    """Refuses before the long work what could not be checked after it."""
    if limits.latency_ratio is not None and (recorded is not None or not asked.rounds):
        raise UsageError(
            "--max-latency-ratio compares two bundles in one run: give a bundle as --baseline, and --rounds"
        )
    if limits.size_ratio is not None and recorded is not None and recorded.size is None:
        raise UsageError(f"--max-size-ratio needs a bundle as baseline: {recorded.target} was run in PyTorch")


def _latency(held_to: _Model, other: _Model, asked: Asked, limits: Limits, progress: Progress) -> list[Line]:
    if not asked.rounds:
        return []
    inputs, _ = read_golden(other.bundle)
    return [
        latency_line(
            held_to.runner,
            other.runner,
            inputs,
            asked.rounds,
            limits.latency_ratio,
            limits.strict,
            lambda done, total: progress(done, total, "timing both in turns"),
        )
    ]


def _size(before: Measurement, found: Measurement, limits: Limits) -> list[Line]:
    if before.size is None or found.size is None:
        return []
    return [size_line(before.size, found.size, limits.size_ratio, limits.strict)]


def _remarks(lines: list[Line]) -> list[str]:
    said = []
    unsure = [line.title for line in lines if line.status is Status.UNSURE]
    if unsure:
        said.append(f"Beyond the limit, but chance may explain it ({', '.join(unsure)}): more images would tell.")
    few = sum(line.status is Status.FEW for line in lines)
    if few:
        said.append(f"{few} groups have too few images to be judged alone.")
    return said


def _called(measurement: Measurement) -> str:
    precision = f", {measurement.precision}" if measurement.precision else ""
    return f"{measurement.target}{precision} on {measurement.runs_on}"
