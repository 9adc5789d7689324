"""Asks a model every question of a data set and measures its answers. PyTorch is not imported here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from rsvl.data.records import QuestionDataset, QuestionRecord
from rsvl.metrics.vqa import AnswerMetrics, AnswerReport
from rsvl.runtime.tasks.vqa import Answerer
from rsvl.tasks.contract import Observe, Progress, Seen, check_seen, image_name

DATA = (QuestionDataset,)
NEEDS_MASKS = False
BEST = "OA"


class Predict(Protocol):
    """Answers questions about one place."""

    def __call__(self, optical: Path | None, sar: Path | None, questions: Sequence[str]) -> Sequence[str]:
        """From the files of its pictures, one of which may be missing, to an answer for each question."""


def runner_predictor(runner: Answerer) -> Predict:
    """Wraps a loaded bundle; the pictures are encoded once for all questions about them."""

    def predict(optical: Path | None, sar: Path | None, questions: Sequence[str]) -> list[str]:
        return [answer.answer for answer in runner.answer(list(questions), optical, sar)]

    return predict


def evaluate(
    predict: Predict,
    dataset: QuestionDataset,
    limit: int | None = None,
    shuffle_sentences: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
    sensor: str | None = None,
    observe: Observe | None = None,
) -> AnswerReport:
    """See `rsvl.tasks.contract.Evaluation`.

    With `shuffle_sentences`, each place's questions are asked about another place, on a random ring: what is left of
    the accuracy is what the questions alone give away.
    """
    metrics = AnswerMetrics()
    count = len(dataset) if limit is None else min(limit, len(dataset))
    shown = np.arange(count)
    if shuffle_sentences:
        order = np.random.default_rng(seed).permutation(count)
        shown[order] = np.roll(order, -1)
    places = 0
    for index in range(count):
        record, seen = dataset[index], dataset[int(shown[index])]
        optical = None if sensor == "sar" else seen.optical
        sar = None if sensor == "optical" else seen.sar
        if optical is not None or sar is not None:
            places += 1
            answers = predict(optical, sar, [question.text for question in record.questions])
            for question, answer in zip(record.questions, answers, strict=True):
                sample = metrics.update(answer, question.answer, question.type, record.condition)
                if observe is not None:
                    observe(Seen(_place(record), question.text, sample, answer))
        if progress:
            progress(index + 1, count)
    check_seen(places, count, sensor, dataset.name)
    return metrics.compute()


def agreement(one: str, other: str) -> float:
    """Whether the answers are the same."""
    return float(one == other)


def groups(report: AnswerReport) -> dict[str, dict[str, Any]]:
    """All questions, then by the optical picture's condition and by type; `commonest` needs no model."""
    overall = {"count": report.count, "accuracy": report.oa, "commonest": report.commonest_oa}
    mean = {"count": len(report.by_type), "accuracy": report.aa, "commonest": report.commonest_aa}
    found = {f"condition: {name}": group.to_dict() for name, group in report.by_condition.items()}
    found |= {name: group.to_dict() for name, group in report.by_type.items()}
    return {"all questions (OA)": overall, "mean of types (AA)": mean, **found}


def remarks(report: AnswerReport) -> list[str]:
    """What the column `commonest` is."""
    return ["commonest: always giving the commonest answer of the question's type"]


def headline(row: Mapping[str, Any]) -> dict[str, float | None]:
    """OA, AA and the OA that needs no model."""
    return {"OA": row["OA"], "AA": row["AA"], "no model": row["commonest OA"]}


def _place(record: QuestionRecord) -> str:
    path = record.optical or record.sar
    assert path is not None
    return image_name(path)
