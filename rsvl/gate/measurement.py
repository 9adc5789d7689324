"""One model's answers to every question of a dataset, and how each sample counts; in memory and as JSON."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rsvl.metrics.sample import NO_TARGET, Sample
from rsvl.runtime.atomic import write_text
from rsvl.runtime.errors import InputError, UsageError
from rsvl.tasks.contract import SampleRecord

SCHEMA_VERSION = 1
_KIND = "rsvl measurement"
_FORMER_KINDS = {"names nothing": NO_TARGET}
"""What records of earlier versions call kinds of groups."""


@dataclass(frozen=True)
class Conditions:
    """What was asked of what; only measurements that have all of it in common can be compared.

    Attributes:
        model: the preset's name.
        task: its task.
        data: the dataset's name.
        split: of the dataset.
        limit: at most this many images were evaluated; None for all.
        sensor: only what this sensor shows; None for all.
    """

    model: str
    task: str
    data: str
    split: str
    limit: int | None = None
    sensor: str | None = None


@dataclass(frozen=True)
class Measurement:
    """What one model answered.

    Attributes:
        target: which bundle or model it was, for people.
        precision: a bundle's precision; empty for a model run in PyTorch.
        runs_on: what ran it.
        size: bytes of the bundle; None for a model run in PyTorch.
        conditions: what was asked.
        figure: the name of the primary metric that the samples' scores average to, such as ``mIoU``.
        samples: in the order in which they were asked.
    """

    target: str
    precision: str
    runs_on: str
    size: int | None
    conditions: Conditions
    figure: str
    samples: tuple[SampleRecord, ...]

    def to_json(self) -> str:
        """JSON, one sample per line."""
        about = {name: value for name, value in asdict(self).items() if name != "samples"}
        head = json.dumps({"kind": _KIND, "schema": SCHEMA_VERSION, **about}, indent=1, allow_nan=False)
        rows = ",\n".join(f"  {json.dumps(_row(record), allow_nan=False)}" for record in self.samples)
        return f'{head[:-2]},\n "samples": [\n{rows}\n ]\n}}\n'

    @classmethod
    def from_json(cls, text: str) -> Measurement:
        """Reads what `to_json` wrote.

        Raises:
            InputError: not JSON, something else, a newer schema, or damaged; without the file's name.
        """
        try:
            data = json.loads(text)
            if not isinstance(data, dict) or data.get("kind") != _KIND:
                raise InputError("not a recorded measurement: make one with rsvl eval --record")
            schema = data["schema"]
            if not isinstance(schema, int) or schema > SCHEMA_VERSION:
                raise InputError(
                    f"its schema {schema!r} is newer than this rsvl reads ({SCHEMA_VERSION}): upgrade rsvl"
                )
            about = {name: str(data[name]) for name in ("target", "precision", "runs_on", "figure")}
            return cls(
                **about,
                size=None if data["size"] is None else _positive(data["size"]),
                conditions=_conditions(data["conditions"]),
                samples=tuple(_record(*row) for row in data["samples"]),
            )
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(
                f"a damaged measurement ({' '.join(repr(error).split())[:120]}): record it again"
            ) from error


def write_record(measurement: Measurement, path: Path) -> None:
    """Writes a measurement as JSON.

    Raises:
        OutputError: it cannot be written.
    """
    write_text(path, measurement.to_json())


def read_record(path: Path) -> Measurement:
    """Reads a recorded measurement.

    Raises:
        InputError: missing, damaged, something else, or of a newer schema.
    """
    try:
        return Measurement.from_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}): check the path") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a recorded measurement: make one with rsvl eval --record") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def check_conditions(baseline: Conditions, other: Conditions, target: str) -> None:
    """Whether a baseline, called `target`, was asked under the conditions of another measurement.

    Raises:
        UsageError: another model, task, dataset, split, sensor or number of images.
    """
    ours = asdict(other)
    for name, theirs in asdict(baseline).items():
        if theirs != ours[name]:
            raise UsageError(
                f"the baseline {target} is of {name} {_said(theirs)}, this of {_said(ours[name])}: measure both alike"
            )


def check_comparable(baseline: Measurement, other: Measurement) -> None:
    """Whether two measurements were asked the same.

    Raises:
        UsageError: other conditions, images or questions.
    """
    check_conditions(baseline.conditions, other.conditions, baseline.target)
    questions = [[(r.image, r.question, r.sample.groups) for r in each.samples] for each in (baseline, other)]
    if questions[0] != questions[1]:
        raise UsageError(
            f"the baseline {baseline.target} was asked other questions or shown other images of "
            f"{other.conditions.data}: record it again on this data"
        )


def _said(value: object) -> str:
    return "all" if value is None else str(value)


def _row(record: SampleRecord) -> list[Any]:
    sample, groups = record.sample, [list(group) for group in record.sample.groups]
    return [record.image, record.question, sample.score, sample.weight, groups, record.answer]


def _record(image: Any, question: Any, score: Any, weight: Any, groups: Any, answer: Any) -> SampleRecord:
    named = tuple((_FORMER_KINDS.get(str(kind), str(kind)), str(name)) for kind, name in groups)
    sample = Sample(float(score), named, float(weight))
    if not (0 <= sample.score <= 1 and 0 < sample.weight < math.inf):
        raise ValueError(f"a score of {score} or a weight of {weight}")
    return SampleRecord(str(image), str(question), sample, answer)


def _positive(value: Any) -> int:
    if int(value) < 1:
        raise ValueError(f"a size of {value}")
    return int(value)


def _conditions(data: dict[str, Any]) -> Conditions:
    words = {name: str(data[name]) for name in ("model", "task", "data", "split")}
    limit, sensor = data["limit"], data["sensor"]
    return Conditions(
        **words, limit=None if limit is None else int(limit), sensor=None if sensor is None else str(sensor)
    )
