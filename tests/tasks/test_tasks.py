"""Every task's data as batches, its evaluation with a model that knows the truth, and its training by the one loop."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from rsvl.runtime.errors import UsageError
from rsvl.runtime.manifest import GROUNDING, MATCHING, SEGMENTATION, VQA
from rsvl.runtime.tasks.matching import TEMPLATE
from rsvl.runtime.tasks.tokenizer import Tokenizer
from rsvl.tasks import EvalOptions, evaluation_of, open_split, training_of
from rsvl.tasks.batch import draw, join
from rsvl.train.config import TrainConfig
from rsvl.train.loop import train
from tests.support.toy_learners import SIZE, SYNTH, TOYS


def batches(task: str, splits, sentences: int = 6):
    """A toy, its dataset, its tokenizer and the joined batch of the first two images."""
    torch.manual_seed(0)
    model, dataset = TOYS[task](), splits(task)
    training = training_of(task).training_set(model, dataset, sentences, seed=0)
    tokenizer = Tokenizer.from_file(model.tokenizer_json(), model.spec.words)
    return model, dataset, tokenizer, join([training[0], training[1]])


def test_grounding_batch_has_each_sentences_own_box(splits) -> None:
    _, dataset, tokenizer, batch = batches(GROUNDING, splits)
    assert batch.images.shape == (2, 3, SIZE, SIZE) and batch.image_index.tolist() == [0] * 6 + [1] * 6
    for image in (0, 1):
        record = dataset[image]
        assert batch.sar[image] == (record.sensor == "sar")
        known = {
            tuple(tokenizer([text])[0]): dataset.box(record, referring)
            for referring in record.referrings
            for text in referring.sentences
        }
        for row in range(6 * image, 6 * image + 6):
            box = known[tuple(batch.tokens[row].numpy())]
            x, y, width, height = box or (0, 0, 0, 0)
            expected = np.array([x, y, x + width, y + height])[None] / 64 if box else np.zeros((0, 4))
            np.testing.assert_allclose(batch.boxes[row, batch.has_target[row]], expected, atol=1e-6)


def test_vqa_batch_has_answers_of_the_datasets_vocabulary(splits) -> None:
    model, dataset, tokenizer, batch = batches(VQA, splits)
    assert model.spec.answers == dataset.answers
    assert batch.optical.shape == (2, 3, SIZE, SIZE) and batch.sar.shape == (2, 1, SIZE, SIZE)
    for image in (0, 1):
        record = dataset[image]
        assert batch.sensors[image].tolist() == [record.optical is not None, record.sar is not None]
        known = {(tuple(tokenizer([q.text])[0]), q.answer) for q in record.questions}
        rows = range(6 * image, 6 * image + 6)
        assert {(tuple(batch.tokens[i].numpy()), dataset.answers[batch.answers[i]]) for i in rows} <= known
    assert batch.class_masks.shape == (2, len(dataset.categories), 64, 64)
    assert len(batch.class_tokens) == len(dataset.categories)


def test_matching_batch_pairs_an_image_with_its_class(splits) -> None:
    _, dataset, tokenizer, batch = batches(MATCHING, splits)
    expected = tokenizer([TEMPLATE.replace("{}", dataset[i].label) for i in (0, 1)])
    assert batch.tokens.tolist() == expected.tolist() and batch.contrast is True


def test_drawing_repeats_when_there_are_too_few_and_depends_on_the_seed() -> None:
    assert sorted(draw("abc", 6, 1)) == list("aabbcc")
    assert draw(range(100), 5, 1, 2) == draw(range(100), 5, 1, 2)
    assert draw(range(100), 5, 1, 2) != draw(range(100), 5, 1, 3)


def knows_answers(dataset):
    known = {(r.optical, r.sar, q.text): q.answer for r in dataset for q in r.questions}
    return lambda optical, sar, questions: [known.get((optical, sar, text), "") for text in questions]


class KnowsClasses:
    """Embeds the first classes as unit vectors, images by the order in which they come."""

    def __init__(self, dataset) -> None:
        self.classes, self.labels = dataset.classes, [record.label for record in dataset]

    def embed_images(self, images) -> np.ndarray:
        return np.eye(len(self.classes), dtype=np.float32)[[self.classes.index(label) for label in self.labels]]

    def embed_texts(self, texts) -> np.ndarray:
        return np.eye(len(self.classes), dtype=np.float32)[: len(texts)]


def test_who_knows_the_answers_scores_one_and_without_its_images_less(splits) -> None:
    evaluation, dataset = evaluation_of(VQA), splits(VQA)
    report = evaluation.evaluate(knows_answers(dataset), dataset)
    assert report.to_dict()[evaluation.PRIMARY_METRIC] == 1.0
    shuffled = evaluation.evaluate(knows_answers(dataset), dataset, EvalOptions(shuffle_sentences=True))
    assert shuffled.to_dict()["OA"] < 1.0
    only = []
    by_sar = EvalOptions(sensor="sar")
    evaluation.evaluate(lambda o, s, q: only.append((o is None, s is None)) or [""] * len(q), dataset, by_sar)
    assert set(only) == {(True, False)}


def test_who_knows_the_classes_scores_one_and_chance_when_exchanged(splits) -> None:
    evaluation, dataset = evaluation_of(MATCHING), splits(MATCHING)
    report = evaluation.evaluate(KnowsClasses(dataset), dataset)
    assert report.to_dict()[evaluation.PRIMARY_METRIC] == 1.0 and evaluation.groups(report)["all"]["count"] == len(
        dataset
    )
    with pytest.raises(UsageError, match="sensor"):
        evaluation.evaluate(KnowsClasses(dataset), dataset, EvalOptions(sensor="sar"))


def test_who_knows_the_boxes_scores_one_and_nothing_when_exchanged(splits) -> None:
    evaluation, dataset = evaluation_of(GROUNDING), splits(GROUNDING)
    record = next(r for r in dataset if len({x.object_id for x in r.referrings if not x.no_target}) > 1)
    one = type(
        "One", (), {"__len__": lambda self: 1, "__getitem__": lambda self, i: record, "box": dataset.box, "name": "one"}
    )()
    known = knows_boxes_of(dataset, record)
    report = evaluation.evaluate(known, one)
    assert report.to_dict()[evaluation.PRIMARY_METRIC] == 1.0 and report.n_acc in (
        1.0,
        pytest.approx(math.nan, nan_ok=True),
    )
    assert evaluation.evaluate(known, one, EvalOptions(shuffle_sentences=True)).to_dict()["meanIoU"] < 0.5
    other = "sar" if record.sensor == "optical" else "optical"
    with pytest.raises(UsageError, match=f"{other} shows none of these 1 images"):
        evaluation.evaluate(known, one, EvalOptions(sensor=other))


def knows_boxes_of(dataset, record):
    known = {}
    for referring in record.referrings:
        x, y, w, h = dataset.box(record, referring) or (math.nan,) * 4
        known |= dict.fromkeys(referring.sentences, (x, y, x + w, y + h))
    return lambda record, sentences: np.array([known[text] for text in sentences])


@pytest.mark.parametrize("task", SYNTH)
def test_one_loop_trains_every_task_and_chooses_by_its_primary_metric(task: str, splits, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = TOYS[task]()
    before = model.embed.weight.clone()
    config = TrainConfig(epochs=2, batch=2, sentences=3, lr=1e-2, warmup=1, workers=0)
    state = train(model, splits(task), splits(task, "val"), tmp_path, config)
    history = json.loads((tmp_path / "history.json").read_text())["epochs"]
    evaluation = evaluation_of(task)
    assert state.best == max(row[evaluation.PRIMARY_METRIC] or 0 for row in history) and len(history) == 2
    assert not torch.equal(model.embed.weight, before)
    assert evaluation.headline(history[0])
    report = evaluation.evaluate(training_of(task).torch_predictor(model), splits(task, "val"), EvalOptions(limit=1))
    assert evaluation.groups(report) and isinstance(list(evaluation.remarks(report)), list)


@pytest.mark.parametrize(
    ("task", "data"),
    [(GROUNDING, "scenes"), (VQA, "optsar-rsvg"), (MATCHING, "osvqa"), (SEGMENTATION, "dior-rsvg")],
)
def test_dataset_of_another_kind_is_refused(task: str, data: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"{data} has"):
        open_split(task, data, tmp_path, "train")


@pytest.mark.parametrize("look_up", [evaluation_of, training_of])
def test_task_that_rsvl_does_not_know_is_named(look_up) -> None:
    with pytest.raises(UsageError, match="'counting': it knows referring-segmentation"):
        look_up("counting")
