"""What scene classifiers share: names that travel, the balanced loss, checkpoints of other numbers of classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rsvl.checkpoints import load_weights, save_weights
from rsvl.modules.bases.classification import ClassificationModel, classification_spec
from rsvl.runtime.errors import CheckpointError, UsageError
from rsvl.runtime.manifest import ImageSpec

SIDE = 8


class Small(ClassificationModel):
    """A linear layer on the mean colour, or a 1×1 convolution."""

    def __init__(self, classes: int = 3, convolution: bool = False) -> None:
        super().__init__()
        image = ImageSpec(SIDE, (0.0,) * 3, (1.0,) * 3)
        self.spec = classification_spec("small", "none", image, classes)
        self.body = nn.Conv2d(3, 5, 1)
        self.head = nn.Conv2d(5, classes, 1, bias=False) if convolution else nn.Linear(5, classes)

    def encode_image(self, image: Tensor) -> tuple[Tensor]:
        x = self.body(image).mean((2, 3))
        return (self.head(x[:, :, None, None]).flatten(1) if isinstance(self.head, nn.Conv2d) else self.head(x),)

    def class_layer(self) -> tuple[str, nn.Linear | nn.Conv2d]:
        return "head", self.head


def small(classes: int = 3, convolution: bool = False) -> Small:
    torch.manual_seed(classes)
    return Small(classes, convolution)


@pytest.mark.parametrize("convolution", [False, True])
def test_other_classes_keep_what_was_learned_of_those_that_stay(convolution: bool) -> None:
    model, images = small(convolution=convolution), torch.rand(2, 3, SIDE, SIDE)
    model.name_classes(["farm", "port", "road"])
    before = model(images)
    model.set_classes(["road", "sea", "farm", "town"])
    after = model(images)
    torch.testing.assert_close(after[:, [0, 2]], before[:, [2, 0]])
    assert model.spec.classes == ("road", "sea", "farm", "town")
    assert model.spec.final_outputs["logits"].shape == ("batch", 4)


def test_names_and_temperature_travel_with_the_weights(tmp_path: Path) -> None:
    model, images = small(4), torch.rand(2, 3, SIDE, SIDE)
    model.name_classes(["farm", "port", "road", "sea"])
    model.set_temperature(1.37)
    save_weights(model, tmp_path / "w.safetensors")
    other = small(3)
    load_weights(other, tmp_path / "w.safetensors")
    assert (other.spec.classes, other.spec.temperature) == (("farm", "port", "road", "sea"), 1.37)
    torch.testing.assert_close(other(images), model(images))


def test_checkpoint_without_names_brings_its_number_of_classes(tmp_path: Path) -> None:
    named = small(3)
    named.name_classes(["a", "b", "c"])
    source = small(5)
    torch.save(source.state_dict(), tmp_path / "w.pth")
    load_weights(named, tmp_path / "w.pth")
    assert named.spec.classes == () and named.spec.final_outputs["logits"].shape == ("batch", 5)
    torch.testing.assert_close(named.head.weight, source.head.weight)


def test_checkpoint_that_does_not_fit_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    model, state = small(3), small(5).state_dict()
    model.name_classes(["a", "b", "c"])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.save({**state, "body.weight": torch.zeros(7, 3, 1, 1)}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"body\.weight"):
        load_weights(model, tmp_path / "w.pth")
    assert model.spec.classes == ("a", "b", "c") and model(torch.rand(1, 3, SIDE, SIDE)).shape == (1, 3)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("names", "message"),
    [(["a", "b"], "2 class names for the 3"), (["a", "b", "b"], "twice"), (["a", "", "b"], "empty")],
)
def test_names_that_do_not_fit_are_refused(names: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        small(3).name_classes(names)


@pytest.mark.parametrize("extra", [{"temperature": "nan"}, {"temperature": "-1"}, {"classes": "3"}, {"classes": "[1]"}])
def test_damaged_extra_state_is_refused(extra: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"temperature|names"):
        small(3).load_extra_state(extra)


def test_loss_is_the_class_balanced_cross_entropy_with_smoothed_labels() -> None:
    model, rng, counts, beta = small(3), np.random.default_rng(0), [900, 30, 2], 0.999
    model.balance_classes(counts)
    logits, labels = rng.normal(size=(16, 3)), rng.integers(0, 3, 16)
    weights = np.array([(1 - beta) / (1 - beta**n) for n in counts])
    weights /= weights.mean()
    log = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    smooth = model.label_smoothing
    target = (1 - smooth) * np.eye(3)[labels] + smooth / 3
    expected = -(target * log * weights).sum() / weights[labels].sum()
    found = model.loss(torch.from_numpy(logits), torch.from_numpy(labels))
    assert float(found) == pytest.approx(expected, rel=1e-5)
