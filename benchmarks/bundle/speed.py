"""How fast a bundle is on this machine, and where its time and memory go.

Its inputs are the bundle's golden inputs, so that every runner's outputs can be compared with those that the export
recorded from PyTorch: speed is not shown without agreement. Runners are timed in alternating rounds
(`rsvl.benchmarks.timing`). Only the baselines and the count of operations need PyTorch.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rsvl.benchmarks.bundle.ceilings import Ceilings, cpu_ceilings, gpu_ceilings
from rsvl.benchmarks.bundle.executed import executed_macs
from rsvl.benchmarks.bundle.footprint import footprint, weights_bytes
from rsvl.benchmarks.bundle.gpu_meter import GpuUse, metered
from rsvl.benchmarks.bundle.questions import SENTENCES, first_and_further, question
from rsvl.benchmarks.bundle.report import FIRST, FURTHER, IMAGE, MANY, WARM_UP, BundleSpeed, RunnerSpeed, Shares
from rsvl.benchmarks.bundle.stages import POST, PRE, stages
from rsvl.benchmarks.machine import describe, hardware
from rsvl.benchmarks.timing import Percentiles, interleaved
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.check import read_golden
from rsvl.runtime.errors import RsvlError, UsageError
from rsvl.runtime.hardware import cores
from rsvl.runtime.loading import load
from rsvl.runtime.progress import Progress, part, silent
from rsvl.runtime.tasks import TASKS, compare
from rsvl.runtime.tasks.runner import Runner
from rsvl.runtime.tuning.choice import TUNED
from rsvl.runtime.tuning.store import find_choice

if TYPE_CHECKING:
    from rsvl.benchmarks.bundle.baselines import Baselines, Options

BATCHES = (1, 2, 4, 8)
Tensors = dict[str, np.ndarray]
_PARTS = 6


def measure(
    path: str | Path,
    provider: str | None = None,
    threads: int | None = None,
    rounds: int = 15,
    batches: Sequence[int] = BATCHES,
    baselines: Options | None = None,
    progress: Progress = silent,
) -> BundleSpeed:
    """Measures a bundle.

    Args:
        path: the bundle.
        provider: as in `rsvl.runtime.load`.
        threads: CPU threads per runner; None for all cores of this process, or as `rsvl tune` chose for the bundle.
        rounds: timing rounds; a third as many for calls with several sentences or samples.
        batches: batch sizes to measure the throughput of.
        baselines: how to create the baselines; None measures the bundle alone.
        progress: called as the work goes on.

    Raises:
        BundleError: the bundle cannot be loaded, or has no golden inputs.
        MissingComponentError: the provider, or PyTorch for the baselines, is not installed.
        UsageError: rounds or a batch size below 1; or no such model or weights for the baselines.
    """
    if rounds < 1 or min(batches, default=1) < 1:
        raise UsageError("--rounds and --batch-size must be 1 or more")
    bundle = Bundle(path)
    golden = read_golden(bundle)
    if provider is None and threads is None and find_choice(bundle) is not None:
        loading: tuple[str | None, int | None] = TUNED, None
    else:
        loading = provider, threads or cores()
    threads = threads or cores()
    progress(0, _PARTS, "loading the bundle in a separate process")
    room = footprint(path, *loading)
    work = _Work(bundle, load(path, *loading), *golden, threads, rounds)
    progress(1, _PARTS, "measuring the machine's ceilings")
    ceilings = work.ceilings()
    runners = work.runners(baselines, part(progress, 2, _PARTS))
    progress(3, _PARTS, "timing questions and their stages")
    by_stage, questions = work.questions()
    progress(4, _PARTS, "timing batches")
    throughput = work.throughput(batches)
    progress(5, _PARTS, "counting operations")
    return BundleSpeed(
        bundle=str(path),
        model=work.runner.spec.name,
        task=work.runner.spec.task,
        precision=bundle.manifest.precision,
        hardware=hardware(work.runner.provider),
        provider=work.runner.provider,
        threads=threads,
        rounds=rounds,
        agreement_is=work.compared(work.expected)[0],
        runners=runners,
        stages=by_stage,
        questions=questions,
        throughput=throughput,
        footprint=room,
        ceilings=ceilings,
        shares=work.shares(runners[0].ms.p50 / 1e3, ceilings, baselines.model if baselines else None),
        gpu=work.gpu(),
        remarks=tuple(work.remarks),
        machine=describe(),
    )


@dataclass
class _Work:
    """A loaded bundle with its golden inputs and outputs, and remarks on what cannot be measured."""

    bundle: Bundle
    runner: Runner
    inputs: Tensors
    expected: Tensors
    threads: int
    rounds: int
    remarks: list[str] = field(default_factory=list)

    @property
    def on_gpu(self) -> bool:
        return self.runner.on_gpu

    def ceilings(self) -> Ceilings | None:
        found = gpu_ceilings() if self.on_gpu else cpu_ceilings(self.threads)
        if found is None:
            self.remarks.append("the GPU's ceilings are measured with PyTorch, which is not installed or sees no GPU")
        return found

    def runners(self, options: Options | None, progress: Progress) -> tuple[RunnerSpeed, ...]:
        """The bundle and its baselines at batch 1."""
        inputs, expected = _first(self.inputs, 1), _first(self.expected, 1)
        with self._baselines(options, inputs, progress) as baselines:
            runners: dict[str, Callable[[], Mapping[str, Any]]] = {
                f"rsvl bundle, {self.bundle.manifest.precision}": partial(self.runner.run, **inputs)
            }
            runners |= baselines.runners if baselines else {}
            progress(1, 1, "timing at batch 1")
            answers = {name: [run() for _ in range(WARM_UP)][-1] for name, run in runners.items()}
            times = interleaved(runners, self.rounds)
        self.remarks += baselines.remarks if baselines else []
        comparable = {next(iter(runners))} | (set(runners) if baselines and baselines.same_weights else set())
        return tuple(
            RunnerSpeed(
                name,
                Percentiles.of(times[name]),
                self.compared(expected, answers[name])[1] if name in comparable else None,
            )
            for name in runners
        )

    def _baselines(
        self, options: Options | None, inputs: Tensors, progress: Progress
    ) -> AbstractContextManager[Baselines | None]:
        if options is None:
            return nullcontext()
        from rsvl.benchmarks.bundle.baselines import prepared

        return prepared(self.bundle.manifest, inputs, self.threads, self.on_gpu, options, progress)

    def compared(self, expected: Tensors, found: Mapping[str, Any] | None = None) -> tuple[str, float]:
        """The name and value of the task's agreement of outputs."""
        measure = compare(self.runner.spec, expected, dict(found or expected), self.bundle.manifest.precision)[0]
        return measure.name, measure.value

    def questions(self) -> tuple[dict[str, Percentiles], dict[str, Percentiles]]:
        """Stages of one sentence about one image, and latencies of calls; neither for a user-defined module.

        A model that takes no text is shown images alone.
        """
        spec = self.runner.spec
        if spec.task not in TASKS:
            return {}, {}
        one, many = question(self.runner, SENTENCES[:1]), question(self.runner, SENTENCES)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a model with few tokens may cut the sentences; the time is the same
            one(), many()
            by_stage = stages(self.runner, one, self.rounds)
            if spec.text is None:
                calls = interleaved({IMAGE: one}, self.rounds)
            else:
                first, further = first_and_further(self.runner, self.rounds)
                calls = {FIRST: first, FURTHER: further} | interleaved({MANY: many}, max(3, self.rounds // 3))
        order = [PRE, *(graph.name for graph in spec.graphs), POST]
        return _percentiles({name: by_stage[name] for name in order if name in by_stage}), _percentiles(calls)

    def throughput(self, batches: Sequence[int]) -> dict[int, float]:
        """Samples per second by batch size; a batch that does not fit in memory ends it with a remark."""
        found: dict[int, float] = {}
        for batch in sorted(set(batches)):
            run = partial(self.runner.run, **_first(self.inputs, batch))
            try:
                run()
                times = interleaved({"": run}, max(3, self.rounds // 3))[""]
            except RsvlError as error:
                self.remarks.append(f"batch {batch}: {error}")
                break
            found[batch] = batch * Percentiles.of(times).per_second
        return found

    def shares(self, seconds: float, ceilings: Ceilings | None, model: str | None) -> Shares | None:
        """The shares of the ceilings that a run of `seconds` reaches."""
        if ceilings is None:
            return None
        type_ = product_type(self.runner.precision, ceilings)
        product = 1e9 * ceilings.products[type_].gflops
        memory = weights_bytes(self.bundle) / seconds / (1e9 * ceilings.copy_gb_s)
        defined = self._operations(model or self.runner.spec.name)
        return Shares.of(seconds, product, type_, defined, self._performed(), memory)

    def _performed(self) -> int | None:
        """Multiplications and additions that the backend performs, counted for ONNX Runtime on the CPU."""
        if self.runner.provider != "cpu":
            return None
        macs = executed_macs(self.bundle, _first(self.inputs, 1))
        return None if macs is None else 2 * macs

    def _operations(self, model: str) -> int | None:
        try:
            from rsvl.benchmarks.count import count
            from rsvl.registry import create

            return count(partial(create, model)).total.macs.operations
        except (ImportError, RsvlError) as error:
            self.remarks.append(f"no share of the matrix product: operations cannot be counted here ({error})")
            return None

    def gpu(self) -> GpuUse | None:
        if not self.on_gpu:
            return None
        use, why_not = metered(partial(self.runner.run, **_first(self.inputs, 1)), self.rounds)
        self.remarks += [why_not] if why_not else []
        return use


def product_type(precision: str, ceilings: Ceilings) -> str:
    """The number type whose product bounds a bundle; float16 is computed in float32 on CPUs."""
    return precision if precision in ceilings.products else "fp32"


def _first(arrays: Tensors, batch: int) -> Tensors:
    """The first `batch` samples, repeated if there are fewer."""
    return {name: array[np.arange(batch) % len(array)] for name, array in arrays.items()}


def _percentiles(times: Mapping[str, Sequence[float]]) -> dict[str, Percentiles]:
    return {name: Percentiles.of(values) for name, values in times.items()}
