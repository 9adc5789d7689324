"""The results of `rsvl bench BUNDLE`, as data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from rsvl.benchmarks.bundle.ceilings import Ceilings
from rsvl.benchmarks.bundle.footprint import Footprint
from rsvl.benchmarks.bundle.gpu_meter import GpuUse
from rsvl.benchmarks.bundle.questions import SENTENCES
from rsvl.benchmarks.timing import Percentiles

WARM_UP = 2
"""Warm-up rounds."""
IMAGE = "a new image"
FIRST, FURTHER = "a sentence about a new image", "a further sentence about it"
MANY = f"{len(SENTENCES)} sentences about a new image, in one call"


@dataclass(frozen=True)
class RunnerSpeed:
    """The latency of one runner of the model at batch 1, from raw inputs to final outputs.

    Attributes:
        name: the runner; the first is the bundle itself.
        ms: its latency.
        agreement: of its outputs with those that the export recorded; None if its weights are others.
    """

    name: str
    ms: Percentiles
    agreement: float | None


@dataclass(frozen=True)
class Shares:
    """Shares of the machine's ceilings that the bundle reaches at batch 1, 0…1 but for `matrix`.

    Attributes:
        type: the number type whose matrix product is the ceiling.
        defined: multiplications and additions that the model defines; None if they cannot be counted here.
        computed: those that the backend performs; None likewise.
        matrix: what the first would be of the ceiling: above 1 where fewer are performed.
        matrix_computed: the second's share of the ceiling.
        why: the reason for each share above 1.
        memory: of the copy, if every weight is read once per run.
    """

    type: str
    defined: int | None
    computed: int | None
    matrix: float | None
    matrix_computed: float | None
    why: dict[str, str]
    memory: float

    @classmethod
    def of(
        cls, seconds: float, product: float, type_: str, defined: int | None, computed: int | None, memory: float
    ) -> Shares:
        """The shares of a run.

        Args:
            seconds: that it takes.
            product: the ceiling, operations per second.
            type_: its number type.
            defined: operations as the model defines them.
            computed: operations as the backend performs them.
            memory: the share of the copy.
        """
        by_name = {
            name: None if operations is None else operations / seconds / product
            for name, operations in (("matrix", defined), ("matrix_computed", computed))
        }
        why = {
            name: _why(name, defined, computed) for name, share in by_name.items() if share is not None and share > 1
        }
        return cls(type_, defined, computed, by_name["matrix"], by_name["matrix_computed"], why, memory)


def _why(name: str, defined: int | None, computed: int | None) -> str:
    """Why a share is above what the machine can do at most."""
    if name == "matrix" and defined is not None and computed is not None and computed < defined:
        return f"{computed / defined:.2f} of these operations are performed: convolutions in Winograd's form need fewer"
    if name == "matrix" and computed is None:
        return "what is performed is not counted here and may be less, or the ceiling was measured under other load"
    return "the ceiling was measured under more load than the bundle, or the bundle computes in a narrower type"


@dataclass(frozen=True)
class BundleSpeed:
    """The results of one benchmark.

    Attributes:
        bundle: its path.
        model, task, precision: of the bundle.
        hardware: what it ran on.
        provider: the provider that ran it, by the name of `rsvl.runtime.load`.
        threads: CPU threads per runner.
        rounds: timing rounds, after `WARM_UP` rounds.
        agreement_is: the measure of agreement, such as ``mask IoU``.
        runners: the bundle, then its baselines.
        stages: of one new sentence about one new image, milliseconds by stage; empty for a user-defined module.
        questions: `FIRST`, `FURTHER` and `MANY`, milliseconds per call; likewise empty.
        throughput: samples per second by batch size, at the median latency.
        footprint: of a fresh process that loads the bundle and runs it a few times.
        ceilings: of the device; None if they cannot be measured.
        shares: of the ceilings that the bundle reaches; None likewise.
        gpu: readings of the GPU's counters.
        remarks: what could not be measured, and why.
        machine: everything known about the machine.
    """

    bundle: str
    model: str
    task: str
    precision: str
    hardware: str
    provider: str
    threads: int
    rounds: int
    agreement_is: str
    runners: tuple[RunnerSpeed, ...]
    stages: dict[str, Percentiles]
    questions: dict[str, Percentiles]
    throughput: dict[int, float]
    footprint: Footprint
    ceilings: Ceilings | None
    shares: Shares | None
    gpu: GpuUse | None
    remarks: tuple[str, ...]
    machine: dict[str, str]

    @property
    def further(self) -> float | None:
        """The cost of a further sentence relative to the first; None for a module that takes none."""
        if FURTHER not in self.questions:
            return None
        return self.questions[FURTHER].p50 / self.questions[FIRST].p50

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self) | {"further_of_first": self.further, "memory_of_weights": self.footprint.of_weights}
