"""Scene classification's batches, augmentation, calibration, and a model that learns from a folder per class."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rsvl.checkpoints import load_weights
from rsvl.data import ClassificationDataset, LabelledImage
from rsvl.runtime.errors import InputError, UsageError
from rsvl.runtime.manifest import CLASSIFICATION
from rsvl.tasks import EvalOptions, evaluation_of, open_split, training_of
from rsvl.tasks.batch import join
from rsvl.tasks.classification.augmentation import colour, shift, symmetries
from rsvl.train.config import TrainConfig
from rsvl.train.loop import train
from tests.modules.bases.test_classification import SIDE, small

COLOURS = {"green field": (40, 160, 40), "river": (30, 60, 160), "town": (150, 140, 140)}
EVALUATION, TRAINING = evaluation_of(CLASSIFICATION), training_of(CLASSIFICATION)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty noisy pictures of each of three classes, and three times as many of the last."""
    folder, rng = tmp_path_factory.mktemp("classes"), np.random.default_rng(0)
    for name, mean in COLOURS.items():
        (folder / name).mkdir()
        for k in range(60 if name == "town" else 20):
            noisy = np.clip(np.array(mean) + rng.normal(0, 40, 3) + rng.normal(0, 9, (12, 12, 3)), 0, 255)
            Image.fromarray(noisy.astype(np.uint8)).save(folder / name / f"{k}.png")
    return folder


@pytest.fixture
def dataset(root: Path) -> ClassificationDataset:
    return open_split(CLASSIFICATION, "scenes", root, "all")


def test_batch_has_images_in_the_models_size_and_their_classes(dataset: ClassificationDataset) -> None:
    model = small(5)
    found = TRAINING.training_set(model, dataset, sentences=4, seed=0)
    batch = join([found[0], found[25], found[50]])
    assert len(found) == 100 and batch.images.shape == (3, 3, SIDE, SIDE) and batch.labels.tolist() == [0, 1, 2]
    assert model.spec.classes == tuple(COLOURS)
    assert model.class_weights is not None and model.class_weights[0] > 2 * model.class_weights[2]
    resized = np.asarray(Image.open(dataset[25].path).resize((SIDE, SIDE), Image.Resampling.BILINEAR)) / 255
    np.testing.assert_allclose(batch.images[1].numpy(), resized.transpose(2, 0, 1), atol=1e-6)


def test_symmetries_are_the_eight_of_the_square() -> None:
    image = torch.arange(2 * 16.0).reshape(1, 2, 4, 4)
    turned = {(k, flip): np.rot90(image[0].numpy(), k, (1, 2)) for k, flip in product(range(4), (False, True))}
    wanted = {(each[:, :, ::-1] if flip else each).tobytes() for (_, flip), each in turned.items()}
    found = symmetries(image.expand(200, -1, -1, -1), torch.Generator().manual_seed(0))
    assert {each.numpy().tobytes() for each in found} == wanted and len(wanted) == 8


def test_shift_moves_the_image_within_its_reflection() -> None:
    image = torch.rand(1, 3, 20, 20)
    padded = np.pad(image.numpy(), [(0, 0), (0, 0), (2, 2), (2, 2)], mode="reflect")
    generator = torch.Generator().manual_seed(1)
    places = set()
    for _ in range(30):
        found = shift(image, generator).numpy()
        places |= {
            (r, c) for r in range(5) for c in range(5) if np.array_equal(padded[:, :, r : r + 20, c : c + 20], found)
        }
    assert len(places) > 8


def test_colour_changes_contrast_and_brightness_and_nothing_else() -> None:
    image = torch.randn(400, 3, 6, 6)
    found = colour(image, torch.Generator().manual_seed(2))
    flat, varied = image.flatten(2).double(), found.flatten(2).double()
    gain = (varied.std(2) / flat.std(2)).mean(1)
    offset = varied.mean(2) - gain[:, None] * flat.mean(2)
    torch.testing.assert_close(varied, gain[:, None, None] * flat + offset[:, :, None], atol=1e-5, rtol=1e-5)
    assert float(gain.std()) == pytest.approx(0.15, rel=0.15) and float(offset.std()) == pytest.approx(0.15, rel=0.1)


def test_training_learns_and_calibrates_and_keeps_the_names(dataset: ClassificationDataset, tmp_path: Path) -> None:
    config = TrainConfig(
        epochs=6, batch=10, lr=0.3, warmup=6, optimizer="sgd", schedule="one-cycle", augment=True,
        weight_decay=0.0, workers=0,
    )  # fmt: skip
    state = train(small(5), dataset, dataset, tmp_path / "run", config)
    assert state.best > 0.9 and state.history[-1]["loss"] < state.history[0]["loss"]
    model = small(2)
    load_weights(model, tmp_path / "run" / "best.safetensors")
    assert model.spec.classes == tuple(COLOURS) and model.spec.temperature != 1
    report = EVALUATION.evaluate(TRAINING.torch_predictor(model), dataset)
    assert report.top1 == pytest.approx(state.best, abs=0.02)
    model.set_temperature(5 * model.spec.temperature)
    unsure = EVALUATION.evaluate(TRAINING.torch_predictor(model), dataset)
    assert unsure.top1 == report.top1 and unsure.ece > 2 * report.ece


@pytest.mark.parametrize(
    ("options", "message"),
    [(EvalOptions(sensor="sar"), "leave --sensor out"), (EvalOptions(shuffle_sentences=True), "reads no sentences")],
)
def test_options_without_effect_are_refused(dataset: ClassificationDataset, options: EvalOptions, message: str) -> None:
    model = small(3)
    model.name_classes(list(COLOURS))
    with pytest.raises(UsageError, match=message):
        EVALUATION.evaluate(TRAINING.torch_predictor(model), dataset, options)


def test_classes_that_the_model_does_not_know_are_named(dataset: ClassificationDataset) -> None:
    with pytest.raises(UsageError, match=r"does not know \(green field, river, town; it knows class 0, class 1"):
        EVALUATION.evaluate(TRAINING.torch_predictor(small(3)), dataset)


class Table:
    """Says of image k what is in the k-th row."""

    def __init__(self, classes: tuple[str, ...], rows: np.ndarray) -> None:
        self.classes, self._rows = classes, rows

    def __call__(self, images: list[Path]) -> np.ndarray:
        return np.stack([self._rows[int(path.stem)] for path in images])


@pytest.mark.parametrize("count", [3, 20])
def test_report_shows_what_is_confused_with_what(count: int) -> None:
    classes = tuple(f"kind {index}" for index in range(count))
    labels, taken = [0, 0, 0, 1, 2], [0, 1, 1, 1, 2]
    images = [LabelledImage(Path(f"{k}.png"), classes[label]) for k, label in enumerate(labels)]
    data = ClassificationDataset("made up", "test", images, classes[:3])
    report = EVALUATION.evaluate(Table(classes, np.eye(count)[taken]), data)
    shown = "\n".join(EVALUATION.remarks(report))
    assert ("  1  kind 0" in shown) == (count == 3) and ("2  kind 0 taken for kind 1" in shown) == (count == 20)
    rows = EVALUATION.groups(report)
    assert rows["all"]["top-1"] == 0.6 and rows["kind 0"]["recall"] == pytest.approx(1 / 3)
    assert json.loads(json.dumps(report.to_dict()))["confusion"]["matrix"][0][:2] == [1, 2]


def test_damaged_image_is_left_out_where_that_is_asked_for(dataset: ClassificationDataset, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    images = [*dataset[:3], LabelledImage(tmp_path / "bad.png", "river")]
    data, model, failed = ClassificationDataset("some", "all", images, COLOURS), small(3), list[str]()
    model.name_classes(list(COLOURS))
    options = EvalOptions(on_failure=lambda name, error: failed.append(name))
    assert EVALUATION.evaluate(TRAINING.torch_predictor(model), data, options).count == 3
    assert failed == [f"{tmp_path.name}/bad.png"]
    with pytest.raises(InputError, match=r"bad\.png"):
        EVALUATION.evaluate(TRAINING.torch_predictor(model), data)
