"""What `rsvl bench BUNDLE` found out, as data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from rsvl.benchmarks.bundle.ceilings import Ceilings
from rsvl.benchmarks.bundle.footprint import Footprint
from rsvl.benchmarks.bundle.gpu_meter import GpuUse
from rsvl.benchmarks.bundle.questions import SENTENCES
from rsvl.benchmarks.timing import Percentiles

WARM_UP = 2
"""Rounds before those that count."""
FIRST, FURTHER = "a sentence about a new image", "a further sentence about it"
MANY = f"{len(SENTENCES)} sentences about a new image, in one call"


@dataclass(frozen=True)
class Way:
    """One way of running the model, batch 1, from raw inputs to final outputs.

    Attributes:
        name: what was run; the first is the bundle itself.
        ms: its rounds, milliseconds.
        agreement: of its outputs with those that the export recorded; None where its weights are others.
    """

    name: str
    ms: Percentiles
    agreement: float | None


@dataclass(frozen=True)
class Shares:
    """What part of the machine's ceilings the bundle reached at batch 1, 0…1.

    Attributes:
        matrix: of the matrix product; None where the model's operations cannot be counted here.
        memory: of the copy, if every weight is read once a run.
    """

    matrix: float | None
    memory: float


@dataclass(frozen=True)
class BundleSpeed:
    """What one run measured.

    Attributes:
        bundle: its path.
        model, task, precision: of the bundle.
        hardware: what it ran on.
        provider: by which ONNX Runtime provider, or by engines.
        threads: CPU threads of each way.
        rounds: how often each way was timed, after `WARM_UP` rounds that do not count.
        agreement_is: what compares outputs, such as ``mask IoU``.
        ways: the bundle, then its peers.
        stages: of one new sentence about one new image, milliseconds by stage; empty for a module of the user's own.
        questions: `FIRST`, `FURTHER` and `MANY`, milliseconds a call; empty likewise.
        throughput: samples a second by batch, by the median.
        footprint: of a fresh process that loads the bundle and runs it a few times.
        ceilings: what the device reaches at most; None where it cannot be measured.
        shares: what the bundle reaches of it; None likewise.
        gpu: what the GPU's counters say.
        remarks: what could not be measured and why.
        machine: all that is known of the machine.
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
    ways: tuple[Way, ...]
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
        """A further sentence's cost as a part of the first's; None for a module of the user's own."""
        if not self.questions:
            return None
        return self.questions[FURTHER].p50 / self.questions[FIRST].p50

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self) | {"further_of_first": self.further, "memory_of_weights": self.footprint.of_weights}
