"""The results of `rsvl bench BUNDLE`, as Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from rsvl.benchmarks.bundle.footprint import RUNS, Footprint
from rsvl.benchmarks.bundle.report import WARM_UP, BundleSpeed, RunnerSpeed
from rsvl.benchmarks.markdown import markdown_table
from rsvl.benchmarks.timing import Percentiles

NONE = "–"
_TIMES = ["p50 (ms)", "p90 (ms)", "p99 (ms)"]


def markdown(found: BundleSpeed) -> str:
    """The whole report."""
    parts = (_head, _runners, _questions, _batches, _room, _machine)
    return "\n\n".join(text for part in parts for text in part(found)) + "\n"


def _head(found: BundleSpeed) -> Iterator[str]:
    yield f"# {found.model}, {found.precision}, on {found.hardware}"
    threads = "1 thread" if found.threads == 1 else f"{found.threads} threads"
    yield (
        f"{found.bundle} on {found.provider}, {threads}. "
        f"Percentiles of {found.rounds} rounds after {WARM_UP} warm-up rounds."
    )
    for remark in found.remarks:
        yield f"Not measured: {remark}."


def _runners(found: BundleSpeed) -> Iterator[str]:
    yield "## Latency at batch 1, from raw inputs to final outputs"
    yield (
        f"The last column, {found.agreement_is}, compares with the outputs that the export recorded from PyTorch. "
        "Runners with other weights have none."
    )
    first = found.runners[0]
    yield markdown_table(
        ["runner", *_TIMES, "time relative to the bundle", found.agreement_is],
        [_runner(runner, first) for runner in found.runners],
    )


def _runner(runner: RunnerSpeed, first: RunnerSpeed) -> list[str]:
    agreement = NONE if runner.agreement is None else f"{runner.agreement:.4f}"
    return [runner.name, *_times(runner.ms), f"{runner.ms.p50 / first.ms.p50:.2f}", agreement]


def _questions(found: BundleSpeed) -> Iterator[str]:
    if found.stages:
        yield "## Stages of one new image" + (" and a sentence about it" if found.further is not None else "")
        whole = sum(times.p50 for times in found.stages.values())
        rows = [[name, *_times(times), f"{times.p50 / whole:.1%}"] for name, times in found.stages.items()]
        yield markdown_table(["stage", *_TIMES, "share"], rows)
    if found.questions:
        yield "## Calls"
        yield markdown_table(["call", *_TIMES], [[name, *_times(times)] for name, times in found.questions.items()])
        if found.further is not None:
            yield f"A further sentence costs {found.further:.1%} of the first."


def _batches(found: BundleSpeed) -> Iterator[str]:
    if found.throughput:
        yield "## Throughput"
        rows = [[str(batch), f"{rate:.2f}"] for batch, rate in found.throughput.items()]
        yield markdown_table(["batch", "samples per second"], rows, words=0)


def _room(found: BundleSpeed) -> Iterator[str]:
    yield "## Memory, start and ceilings"
    rows = [*_footprint(found.footprint), *_shares(found)]
    if found.gpu is not None:
        rows += [
            ["GPU memory of this process", _number(found.gpu.memory_mb, "MB")],
            ["GPU energy per run", _number(found.gpu.joules_per_run, "J", 2)],
        ]
    yield markdown_table(["what", "value"], rows)


def _footprint(room: Footprint) -> Iterator[list[str]]:
    added = NONE if room.of_weights is None else f"{room.of_weights:.2f} × the weights"
    yield ["weights", _number(room.weights_mb, "MB", 1)]
    yield [f"main memory, peak of a fresh process that runs it {RUNS} times", _number(room.peak_mb, "MB", 1)]
    yield ["before loading", _number(room.imported_mb, "MB", 1)]
    yield ["added by loading and running", added]
    yield ["importing the runtime", f"{room.import_s:.2f} s"]
    yield ["reading and hashing the bundle", f"{room.read_s:.2f} s"]
    yield ["starting its sessions", f"{room.start_s:.2f} s"]


def _shares(found: BundleSpeed) -> Iterator[list[str]]:
    ceilings, shares = found.ceilings, found.shares
    if ceilings is None or shares is None:
        return
    for name, product in ceilings.products.items():
        with_ = f", {product.instructions}" if product.instructions else ""
        yield [f"matrix product, {name}{with_}: {product.library}", f"{product.gflops:.1f} billion operations/s"]
        for library, rate in (product.others or {}).items():
            yield [f"the same: {library}", f"{rate:.1f} billion operations/s"]
    counts = {
        "matrix": ("as the model defines them", shares.defined, shares.matrix),
        "matrix_computed": ("as they are performed", shares.computed, shares.matrix_computed),
    }
    for name, (how, operations, share) in counts.items():
        yield [f"operations {how}", NONE if operations is None else f"{operations / 1e9:.1f} billion"]
        reached = NONE if share is None else f"{share:.1%}"
        why = f" ({shares.why[name]})" if name in shares.why else ""
        yield [f"share of the {shares.type} product, {how}", reached + why]
    yield [f"memory copy, read and written ({ceilings.where})", f"{ceilings.copy_gb_s:.1f} GB/s"]
    yield ["share of it for reading the weights once per run", f"{shares.memory:.1%}"]


def _machine(found: BundleSpeed) -> Iterator[str]:
    yield "## The machine"
    yield markdown_table(["what", "value"], [[name, value] for name, value in found.machine.items()], words=2)


def _times(times: Percentiles) -> list[str]:
    return [f"{value:.1f}" if value >= 100 else f"{value:.2f}" for value in (times.p50, times.p90, times.p99)]


def _number(value: float | None, unit: str, digits: int = 0) -> str:
    return NONE if value is None else f"{value:.{digits}f} {unit}"
