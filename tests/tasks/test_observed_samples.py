"""The samples of an evaluation average to its report, and two models' answers are compared by their task."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rsvl.data.records import (
    CaptionDataset,
    CaptionedImage,
    ClassificationDataset,
    ImageRecord,
    LabelledImage,
    Question,
    QuestionDataset,
    Referring,
    ReferringDataset,
)
from rsvl.metrics import ALL, Group
from rsvl.runtime.errors import InputError
from rsvl.runtime.manifest import CLASSIFICATION, GROUNDING, MATCHING, SEGMENTATION, VQA
from rsvl.tasks import evaluation_of
from rsvl.tasks.contract import EvalOptions, SampleRecord
from rsvl.tasks.segmentation.packing import pack, unpack

SIZE = 64
RNG_SEED = 5


class Boxes(ReferringDataset):
    """Objects of three sizes and two classes in images of two sensors, and no-target sentences."""

    name, split, categories = "boxes", "test", ("quay", "ship")

    def __init__(self, folder: Path) -> None:
        sides = [(8, "ship"), (40, "quay"), (20, "")]
        self._records = []
        for index in range(4):
            objects = tuple(
                Referring(k, (f"object {k}", f"thing {k}"), category, (2.0, 3.0, side, side), segmentation=side)
                for k, (side, category) in enumerate(sides)
            )
            nothing = Referring(9, ("nothing",), no_target=True)
            sensor = "sar" if index % 2 else "optical"
            self._records.append(ImageRecord(folder / f"{index}.png", SIZE, SIZE, (*objects, nothing), sensor))

    def _decode(self, record: ImageRecord, referring: Referring) -> np.ndarray:
        mask = np.zeros((SIZE, SIZE), bool)
        mask[3 : 3 + referring.segmentation, 2 : 2 + referring.segmentation] = True
        return mask


class Guesses:
    """Random answers of every task, the same for the same seed."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(RNG_SEED)

    def masks(self, record: ImageRecord, sentences: list[str]) -> list[np.ndarray]:
        return [
            np.pad(np.ones((size, size), bool), (0, SIZE - size)) for size in self.rng.integers(0, 50, len(sentences))
        ]

    def boxes(self, record: ImageRecord, sentences: list[str]) -> np.ndarray:
        corners = np.array([[2, 3, 2 + side, 3 + side] for side in self.rng.integers(4, 50, len(sentences))], float)
        corners[self.rng.random(len(sentences)) < 0.2] = math.nan
        return corners

    def answers(self, optical: Path, sar: Path, questions: list[str]) -> list[str]:
        return [("yes", "no")[int(self.rng.integers(2))] for _ in questions]

    classes = ("field", "port", "sea", "town")

    def probabilities(self, images: list[Path]) -> np.ndarray:
        found = self.rng.random((len(images), len(self.classes)))
        return found / found.sum(axis=1, keepdims=True)

    def embed_images(self, images: list[Path]) -> np.ndarray:
        return self.rng.normal(size=(len(images), 4)).astype(np.float32)

    def embed_texts(self, texts: list[str]) -> np.ndarray:
        return self.rng.normal(size=(len(texts), 4)).astype(np.float32)


class Classifying:
    """Random probabilities of scene classes."""

    def __init__(self, guesses: Guesses) -> None:
        self.classes, self._guesses = guesses.classes, guesses

    def __call__(self, images: list[Path]) -> np.ndarray:
        return self._guesses.probabilities(images)


def questions(folder: Path) -> QuestionDataset:
    asked = tuple(Question(k, f"is it {k}?", ("yes", "no")[k % 2], ("presence", "size")[k // 4]) for k in range(7))
    entries = []
    for index, condition in enumerate(("", "night", "cloudy")):
        path = folder / f"{index}.png"
        Image.new("L", (4, 4)).save(path)
        entries.append((path, None, asked, condition, None))
    return QuestionDataset("asked", "test", entries)


def scenes(folder: Path) -> ClassificationDataset:
    labels = ("port", "field", "port", "town", "town")
    return ClassificationDataset(
        "scenes", "test", [LabelledImage(folder / f"{i}.png", name) for i, name in enumerate(labels)], set(labels)
    )


def captions(folder: Path) -> CaptionDataset:
    images = [CaptionedImage(folder / f"{i}.png", tuple(f"{i} {k}" for k in range(1 + i % 3))) for i in range(12)]
    return CaptionDataset("told", "test", images)


# The task, its data, the model, and where the report has each group's metric.
CASES: dict[str, tuple[str, Callable[[Path], Any], Callable[[Guesses], Any], Callable[[Any], dict[Group, float]]]] = {
    "masks": (
        SEGMENTATION,
        Boxes,
        lambda guesses: guesses.masks,
        lambda report: {
            ALL: report.miou,
            ("no-target", ""): report.n_acc,
            **{("area", k): v.miou for k, v in report.by_area.items() if v.count},
            **{("coverage", k): v.miou for k, v in report.by_coverage.items() if v.count},
            **{("class", k): v.miou for k, v in report.by_category.items()},
        },
    ),
    "boxes": (
        GROUNDING,
        Boxes,
        lambda guesses: guesses.boxes,
        lambda report: {
            ALL: report.pr50,
            ("no-target", ""): report.n_acc,
            **{("area", k): v.precision[0.5] for k, v in report.by_area.items() if v.count},
            **{("sensor", k): v.precision[0.5] for k, v in report.by_sensor.items()},
            **{("class", k): v.precision[0.5] for k, v in report.by_category.items()},
        },
    ),
    "answers": (
        VQA,
        questions,
        lambda guesses: guesses.answers,
        lambda report: {
            ALL: report.oa,
            **{("type", k): v.accuracy for k, v in report.by_type.items()},
            **{("condition", k): v.accuracy for k, v in report.by_condition.items()},
        },
    ),
    "classes": (
        MATCHING,
        scenes,
        lambda guesses: guesses,
        lambda report: {ALL: report.found.top1, **{("class", k): v for k, (_, v) in report.found.by_class.items()}},
    ),
    "own classes": (
        CLASSIFICATION,
        scenes,
        lambda guesses: Classifying(guesses),
        lambda report: {ALL: report.top1, **{("class", k): v.recall for k, v in report.by_class.items()}},
    ),
    "captions": (
        MATCHING,
        captions,
        lambda guesses: guesses,
        lambda report: {
            ALL: report.found.mean_recall,
            ("direction", "image to text"): float(np.mean(list(report.found.image_to_text.values()))),
            ("direction", "text to image"): float(np.mean(list(report.found.text_to_image.values()))),
        },
    ),
}


@pytest.mark.parametrize(("task", "data", "model", "metrics"), CASES.values(), ids=CASES.keys())
def test_samples_average_to_the_report(task: str, data: Any, model: Any, metrics: Any, tmp_path: Path) -> None:
    evaluation, dataset, samples = evaluation_of(task), data(tmp_path), list[SampleRecord]()
    report = evaluation.evaluate(model(Guesses()), dataset, EvalOptions(on_sample=samples.append))
    found: dict[Group, list[tuple[float, float]]] = {}
    for each in samples:
        for group in each.sample.groups:
            found.setdefault(group, []).append((each.sample.score, each.sample.weight))
    means = {
        group: sum(score * weight for score, weight in scores) / sum(weight for _, weight in scores)
        for group, scores in found.items()
    }
    assert means == pytest.approx(metrics(report))
    assert means[ALL] == pytest.approx(report.to_dict()[evaluation.PRIMARY_METRIC])
    assert {each.image for each in samples} == {f"{tmp_path.name}/{i}.png" for i in range(len(dataset))}
    assert all(evaluation.agreement(each.answer, each.answer) == 1 for each in samples)


DISAGREEING = {
    "half of the mask": (SEGMENTATION, pack(np.eye(8, dtype=bool)), pack(np.diag(np.arange(8) < 4)), 0.5),
    "empty masks": (SEGMENTATION, pack(np.zeros((3, 5), bool)), pack(np.zeros((3, 5), bool)), 1.0),
    "masks of other sizes": (SEGMENTATION, pack(np.ones((3, 5), bool)), pack(np.ones((5, 3), bool)), 0.0),
    "half of the box": (GROUNDING, [0, 0, 4, 4], [0.0, 0.0, 2.0, 4.0], 0.5),
    "no box": (GROUNDING, [0, 0, 4, 4], None, 0.0),
    "no boxes": (GROUNDING, None, None, 1.0),
    "another answer": (VQA, "yes", "no", 0.0),
    "another class of its own": (CLASSIFICATION, "port", "field", 0.0),
    "another class": (MATCHING, "port", "field", 0.0),
}


@pytest.mark.parametrize(("task", "one", "other", "expected"), DISAGREEING.values(), ids=DISAGREEING.keys())
def test_agreement_is_the_tasks_own(task: str, one: Any, other: Any, expected: float) -> None:
    assert evaluation_of(task).agreement(one, other) == evaluation_of(task).agreement(other, one) == expected


def test_mask_is_unpacked_as_it_was() -> None:
    mask = np.random.default_rng(0).random((13, 7)) < 0.4
    assert np.array_equal(unpack(pack(mask)), mask)


@pytest.mark.parametrize(
    "damaged",
    [
        "",
        "3x5",
        "3x5:AAAA",
        "0x0:",
        "9x9:%%",
        pack(np.ones((3, 5), bool)).replace("3x5", "8x8"),
        "99999999999x9:AA",
        3,
        None,
    ],
)
def test_damaged_mask_is_refused(damaged: Any) -> None:
    with pytest.raises(InputError, match="record it again"):
        evaluation_of(SEGMENTATION).agreement(pack(np.ones((3, 5), bool)), damaged)
