"""The whole gate: two bundles, or one and a record, evaluated alike, compared and judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rsvl.data.records import Split
from rsvl.gate.comparison import compare
from rsvl.gate.limits import Limits
from rsvl.gate.measurement import Conditions, Measurement, check_conditions, read_record
from rsvl.gate.resources import MIN_ROUNDS, latency_line, size_line
from rsvl.gate.verdict import Line, Status, Verdict
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.check import read_golden
from rsvl.runtime.errors import UsageError
from rsvl.runtime.loading import load
from rsvl.runtime.progress import Progress, silent
from rsvl.runtime.tasks.runner import Runner
from rsvl.tasks import evaluation_of, open_split
from rsvl.tasks.contract import EvalOptions, Evaluation, SampleRecord


@dataclass(frozen=True)
class GateConfig:
    """What both bundles are evaluated on, and how they are run.

    Attributes:
        data: the dataset's name.
        root: the folder of its files as published.
        split: of the dataset.
        limit: evaluate at most this many images; None for all.
        sensor: only what this sensor shows; None for all.
        rounds: how many times each bundle is timed; 0 for no timing.
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
    bundle: Path, baseline: Path, config: GateConfig, limits: Limits, progress: Progress = silent
) -> tuple[Verdict, Measurement]:
    """Compares a bundle with its baseline.

    Args:
        bundle: what is judged, a bundle's folder or `.rsvl` file.
        baseline: what to compare against: a bundle, or a `.json` file of a recorded measurement.
        config: what both are evaluated on.
        limits: how much worse the bundle may be.
        progress: called as the work goes on.

    Returns:
        The verdict, and the bundle's own measurement, to be recorded.

    Raises:
        UsageError: a baseline of another model, task, dataset, split or number of images; limits that cannot be
            checked.
        InputError: a bundle, record or dataset that cannot be used, or too few images to decide.
    """
    if 0 < config.rounds < MIN_ROUNDS or config.rounds < 0:
        raise UsageError(f"--rounds is 0 for no timing, or {MIN_ROUNDS} or more")
    recorded = read_record(baseline) if baseline.suffix == ".json" else None
    _check_limits(limits, config, recorded)
    other = _Model(Bundle(bundle), config)
    if recorded is not None:
        check_conditions(recorded.conditions, other.conditions, recorded.target)
        found = other.measure(progress)
        before, lines = recorded, _size(recorded, found, limits)
    else:
        theirs = Bundle(baseline)
        check_conditions(_conditions(theirs, config), other.conditions, str(baseline))  # before its data is opened
        reference = _Model(theirs, config)
        before, found = reference.measure(progress), other.measure(progress)
        lines = [*_latency(reference, other, config, limits, progress), *_size(before, found, limits)]
    compared = compare(before, found, other.evaluation.agreement, limits)
    lines = [*compared, *lines]
    verdict = Verdict(
        bundle=_name(found),
        baseline=_name(before),
        figure=found.figure,
        conditions=asdict(found.conditions),
        lines=tuple(lines),
        remarks=tuple(_remarks(lines, other.bundle.manifest.verification)),
    )
    return verdict, found


class _Model:
    """A loaded bundle and what it is evaluated on."""

    def __init__(self, bundle: Bundle, config: GateConfig) -> None:
        self.bundle = bundle
        spec = bundle.manifest.model
        self.config = config
        self.evaluation: Evaluation = evaluation_of(spec.task)
        self.dataset: Split[Any] = open_split(spec.task, config.data, config.root, config.split)
        self.runner: Runner = load(self.bundle, config.provider, config.threads)
        self.conditions = _conditions(bundle, config)

    def measure(self, progress: Progress) -> Measurement:
        """Evaluates it on the dataset."""
        samples: list[SampleRecord] = []
        options = EvalOptions(self.config.limit, sensor=self.config.sensor, progress=progress, on_sample=samples.append)
        stage = f"evaluating {self.bundle.source} on {self.runner.provider}"
        progress(0, options.count(self.dataset), stage)
        self.evaluation.evaluate(self.evaluation.runner_predictor(self.runner), self.dataset, options)
        return Measurement(
            target=str(self.bundle.source),
            precision=self.bundle.manifest.precision,
            runs_on=self.runner.provider,
            size=self.bundle.size,
            conditions=self.conditions,
            figure=self.evaluation.PRIMARY_METRIC,
            samples=tuple(samples),
        )


def _conditions(bundle: Bundle, config: GateConfig) -> Conditions:
    spec = bundle.manifest.model
    return Conditions(spec.name, spec.task, config.data, config.split, config.limit, config.sensor)


def _check_limits(limits: Limits, config: GateConfig, recorded: Measurement | None) -> None:
    """Refuses early what could not be checked after the long work."""
    if limits.latency_ratio is not None and (recorded is not None or not config.rounds):
        raise UsageError(
            "--max-latency-ratio compares two bundles in one run: give a bundle as --baseline, and --rounds"
        )
    if limits.size_ratio is not None and recorded is not None and recorded.size is None:
        raise UsageError(f"--max-size-ratio needs a bundle as baseline: {recorded.target} was run in PyTorch")


def _latency(reference: _Model, other: _Model, config: GateConfig, limits: Limits, progress: Progress) -> list[Line]:
    if not config.rounds:
        return []
    inputs, _ = read_golden(other.bundle)
    progress(0, config.rounds, "timing both bundles in turns")
    return [
        latency_line(
            reference.runner, other.runner, inputs, config.rounds, limits.latency_ratio, limits.strict, progress
        )
    ]


def _size(before: Measurement, found: Measurement, limits: Limits) -> list[Line]:
    if before.size is None or found.size is None:
        return []
    return [size_line(before.size, found.size, limits.size_ratio, limits.strict)]


def _remarks(lines: list[Line], verification: Mapping[str, Any]) -> list[str]:
    remarks = []
    if lack := verification.get("lack"):
        remarks.append(f"The bundle's verification says little: {lack}.")
    unsure = [line.title for line in lines if line.status is Status.UNSURE]
    if unsure:
        remarks.append(f"Beyond the limit, but chance may explain it ({', '.join(unsure)}): evaluate more images.")
    few = sum(line.status is Status.FEW for line in lines)
    if few:
        remarks.append(f"{few} groups have too few images to be judged alone.")
    return remarks


def _name(measurement: Measurement) -> str:
    precision = f", {measurement.precision}" if measurement.precision else ""
    return f"{measurement.target}{precision} on {measurement.runs_on}"
