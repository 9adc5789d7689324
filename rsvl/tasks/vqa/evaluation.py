"""Asks a model every question of a dataset and measures its answers. PyTorch is not imported here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from rsvl.data.records import QuestionDataset, QuestionRecord
from rsvl.metrics.vqa import VQAMetrics, VQAReport
from rsvl.runtime.tasks.vqa import Answerer
from rsvl.tasks.contract import DEFAULT_OPTIONS, EvalOptions, SampleRecord, image_name

DATASET_TYPES = (QuestionDataset,)
NEEDS_MASKS = False
PRIMARY_METRIC = "OA"


class Predict(Protocol):
    """Answers questions about one place."""

    def __call__(self, optical: Path | None, sar: Path | None, questions: Sequence[str]) -> Sequence[str]:
        """From the files of its images, one of which may be missing, to an answer for each question."""


def runner_predictor(runner: Answerer) -> Predict:
    """Wraps a loaded bundle; the images are encoded once for all questions about them."""

    def predict(optical: Path | None, sar: Path | None, questions: Sequence[str]) -> list[str]:
        return [answer.answer for answer in runner.answer(list(questions), optical, sar)]

    return predict


def evaluate(predict: Predict, dataset: QuestionDataset, options: EvalOptions = DEFAULT_OPTIONS) -> VQAReport:
    """See `rsvl.tasks.contract.Evaluation`.

    With `shuffle_sentences`, each place's questions are asked about another place, on a random ring: what is left of
    the accuracy is what the questions alone give away.
    """
    metrics, count, places = VQAMetrics(), options.count(dataset), 0
    shown = np.arange(count)
    if options.shuffle_sentences:
        order = np.random.default_rng(options.seed).permutation(count)
        shown[order] = np.roll(order, -1)
    for index in range(count):
        record, place = dataset[index], dataset[int(shown[index])]
        optical = None if options.sensor == "sar" else place.optical
        sar = None if options.sensor == "optical" else place.sar
        if optical is not None or sar is not None:
            places += 1
            with options.image(_place_path(record)):
                answers = predict(optical, sar, [question.text for question in record.questions])
                for question, answer in zip(record.questions, answers, strict=True):
                    sample = metrics.update(answer, question.answer, question.type, record.condition)
                    if options.on_sample is not None:
                        name = image_name(_place_path(record))
                        options.on_sample(SampleRecord(name, question.text, sample, answer))
        options.progress(index + 1, count)
    options.check_shown(places, dataset)
    return metrics.compute()


def agreement(one: str, other: str) -> float:
    """Whether the answers are the same."""
    return float(one == other)


def groups(report: VQAReport) -> dict[str, dict[str, Any]]:
    """All questions, then by the optical image's condition and by type; `commonest` needs no model."""
    overall = {"count": report.count, "accuracy": report.oa, "commonest": report.commonest_oa}
    mean = {"count": len(report.by_type), "accuracy": report.aa, "commonest": report.commonest_aa}
    found = {f"condition: {name}": group.to_dict() for name, group in report.by_condition.items()}
    found |= {name: group.to_dict() for name, group in report.by_type.items()}
    return {"all questions (OA)": overall, "mean of types (AA)": mean, **found}


def remarks(report: VQAReport) -> list[str]:
    """What the column `commonest` is."""
    return ["commonest: always giving the commonest answer of the question's type"]


def headline(row: Mapping[str, Any]) -> dict[str, float | None]:
    """OA, AA and the OA that needs no model."""
    return {"OA": row["OA"], "AA": row["AA"], "no model": row["commonest OA"]}


def _place_path(record: QuestionRecord) -> Path:
    path = record.optical or record.sar
    assert path is not None
    return path
