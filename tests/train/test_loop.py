"""The training loop: what it learns, what it writes, and that a kill costs one epoch at most."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rsvl.checkpoints import load_weights
from rsvl.data import ReferringDataset, open_dataset
from rsvl.data.mixtures import Augmented, Mixture
from rsvl.data.synth import write
from rsvl.models.cd2fsan import CD2FSAN, TINY
from rsvl.runtime.errors import InputError, UsageError
from rsvl.runtime.tasks.tokenizer import Tokenizer
from rsvl.tasks.batch import join
from rsvl.tasks.segmentation.training import SegmentationSampler
from rsvl.train.config import TrainConfig
from rsvl.train.loop import State, optimizers, train
from rsvl.train.schedules import one_cycle, warmup_cosine
from tests.support.coco_file import write as write_coco

SMALL = replace(
    TINY,
    image_size=64,
    vision=(64, 3, 1),
    text=(64, 1, 1),
    candidates=(1, 2),
    stem=(8, 8, 16, 64),
    adapter=16,
    width=64,
    imc=16,
    maam_layers=1,
    stages=((16, False), (8, True), (8, True)),
)
CONFIG = TrainConfig(epochs=2, batch=4, sentences=2, lr=1e-3, encoder_rate=0.5, warmup=2, workers=0, seed=3)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve scenes for training, four for validation."""
    folder = tmp_path_factory.mktemp("scenes") / "synth"
    write(folder, scenes=16, seed=5, size=64, val=4, test=0)
    return folder


@pytest.fixture(scope="module")
def sets(root: Path) -> tuple[ReferringDataset, ReferringDataset]:
    """The training and the validation split."""
    return open_dataset("rrsis-d", root, "train"), open_dataset("rrsis-d", root, "val")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def small() -> CD2FSAN:
    """A small CD2FSAN whose weights are the same each time."""
    torch.manual_seed(0)
    return CD2FSAN("small", SMALL)


def test_training_writes_the_best_epoch_and_its_history(sets, tmp_path):
    model = small()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = train(model, *sets, tmp_path, CONFIG)
    history = json.loads((tmp_path / "history.json").read_text())["epochs"]
    assert [row["epoch"] for row in history] == [1, 2]
    assert state.best == max(row["mIoU"] for row in history)
    best = small()
    load_weights(best, tmp_path / "best.safetensors")
    moved = [name for name, tensor in best.state_dict().items() if not torch.equal(tensor, before[name])]
    assert {"mask.weight", "image_encoder.stem.stages.0.0.0.weight", "text_encoder.text_projection.weight"} <= {*moved}


def test_loss_falls_on_scenes_seen_again_and_again(sets, tmp_path):
    rows: list[dict] = []
    train(small(), *sets, tmp_path, replace(CONFIG, epochs=8, encoder_rate=1.0), on_epoch=rows.append)
    losses = [row["loss"] for row in rows]
    assert losses[-1] < losses[0] - 0.1


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_resumed_run_ends_where_an_uninterrupted_one_does(sets, tmp_path, optimizer):
    config = replace(CONFIG, optimizer=optimizer)
    whole = small()
    train(whole, *sets, tmp_path / "whole", config)

    def kill_in_second_epoch(done: float, total: float, stage: str = "", detail: str = "") -> None:
        if stage == "epoch 2 of 2":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(small(), *sets, tmp_path / "killed", config, progress=kill_in_second_epoch)
    torch.manual_seed(99)  # another process would have another state
    resumed = CD2FSAN("small", SMALL)
    state = train(resumed, *sets, tmp_path / "killed", config, resume=True)
    assert state.epoch == 2
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], tensor, rtol=0, atol=0, msg=name)


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("name", ["best.safetensors", "history.json"])
def test_results_without_the_state_are_not_overwritten(sets, tmp_path, name, resume):
    (tmp_path / name).write_bytes(b"a run's")
    with pytest.raises(UsageError, match="name another folder"):
        train(small(), *sets, tmp_path, CONFIG, resume=resume)
    assert (tmp_path / name).read_bytes() == b"a run's"


def test_existing_run_is_not_overwritten_without_resume(sets, tmp_path):
    (tmp_path / "last.pt").write_bytes(b"a run")
    with pytest.raises(UsageError, match="--resume"):
        train(small(), *sets, tmp_path, CONFIG)
    assert (tmp_path / "last.pt").read_bytes() == b"a run"


class Runs:
    """What asks to be called on loading: os.getcwd, which would do no harm."""

    def __reduce__(self) -> tuple[Callable[[], str], tuple[()]]:
        return os.getcwd, ()


def kept(**other: Any) -> dict[str, Any]:
    """What a run of the small model keeps, before its first step."""
    config, state = asdict(CONFIG), asdict(State())
    whole = {"model": {}, "optimizers": [], "schedulers": [], "state": state, "config": config, "name": "small"}
    return whole | other


UNUSABLE = {
    "damaged": (b"PK\x03\x04 truncated", "damaged or of another type"),
    "empty": (b"", "damaged or of another type"),
    "code to be run": (Runs(), "damaged or of another type"),
    "a state dict": ({"weight": torch.zeros(2)}, "not written by rsvl train"),
    "a tensor": (torch.zeros(2), "not written by rsvl train"),
    "of another model": (kept(name="large"), "a run of large, not of small"),
    "with other options": (kept(config=asdict(replace(CONFIG, epochs=1, lr=5e-4))), "other epochs, lr: give"),
    "of another shape": (kept(model={"mask.weight": torch.zeros(2)}), "not those of this small"),
}


@pytest.mark.parametrize(("content", "says"), UNUSABLE.values(), ids=UNUSABLE.keys())
def test_what_cannot_be_resumed_from_is_refused_in_one_line_and_left_as_it_is(sets, tmp_path, content, says):
    last, best = tmp_path / "last.pt", tmp_path / "best.safetensors"
    best.write_bytes(b"the best")
    last.write_bytes(content) if isinstance(content, bytes) else torch.save(content, last)
    before = last.read_bytes()
    with pytest.raises(InputError, match=says) as raised:
        train(small(), *sets, tmp_path, CONFIG, resume=True)
    message = str(raised.value)
    assert "\n" not in message and len(message) < 400 and ("--weights" in message) == ("cannot be resumed" in message)
    assert (last.read_bytes(), best.read_bytes()) == (before, b"the best")
    assert len(list(tmp_path.iterdir())) == 2


def settings(model: CD2FSAN, config: TrainConfig) -> dict[str, tuple[str, float, float]]:
    """Each parameter's optimizer, rate and weight decay; every parameter is in exactly one group."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    rows = [
        (names[id(parameter)], (type(optimizer).__name__, group["lr"], group["weight_decay"]))
        for optimizer in optimizers(model, config)
        for group in optimizer.param_groups
        for parameter in group["params"]
    ]
    assert sorted(name for name, _ in rows) == sorted(names.values())
    return dict(rows)


@pytest.mark.parametrize(("choice", "of_matrices"), [("adamw", "AdamW"), ("muon", "Muon")])
def test_every_parameter_has_its_optimizer_rate_and_decay(choice, of_matrices):
    seen = settings(small(), replace(CONFIG, lr=1.0, encoder_rate=0.1, weight_decay=0.2, optimizer=choice))
    assert seen["text_encoder.text_model.encoder.layers.0.mlp.fc1.weight"] == (of_matrices, 0.1, 0.2)
    assert seen["image_encoder.visual_projection.weight"] == (of_matrices, 0.1, 0.2)
    assert seen["sentence_gain.weight"] == (of_matrices, 1.0, 0.2)
    assert seen["drc.0.gate.weight"] == ("AdamW", 1.0, 0.2)  # three rows
    assert seen["aggregate.weight"] == ("AdamW", 1.0, 0.2)
    assert seen["aggregate.bias"] == ("AdamW", 1.0, 0.0)
    assert seen["text_encoder.text_model.embeddings.token_embedding.weight"] == ("AdamW", 0.1, 0.0)


def test_muon_without_a_matrix_is_refused_in_one_line():
    with pytest.raises(UsageError, match="use --optimizer adamw"):
        optimizers(torch.nn.Conv2d(3, 16, 3), replace(CONFIG, optimizer="muon"))


def test_learning_rate_warms_up_and_ends_at_zero():
    factors = [warmup_cosine(step, 10, 110) for step in range(111)]
    assert factors[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert factors[60] == pytest.approx(0.5)  # half of the cosine
    assert factors[110] == pytest.approx(0.0)
    assert factors[10:] == sorted(factors[10:], reverse=True)


@pytest.mark.parametrize(("warmup", "steps"), [(15, 100), (4, 20)])
def test_one_cycle_is_pytorchs(warmup, steps):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    shape = {"pct_start": (warmup + 1) / steps, "div_factor": 10, "final_div_factor": 1000}
    reference = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=steps, cycle_momentum=False, **shape)
    for step in range(steps):
        assert one_cycle(step, warmup, steps) == pytest.approx(reference.get_last_lr()[0], abs=1e-9)
        optimizer.step()
        if step < steps - 1:
            reference.step()


def test_sgd_has_momentum_and_decays_matrices_only():
    layers = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    (found,) = optimizers(layers, replace(CONFIG, optimizer="sgd", weight_decay=5e-4))
    assert isinstance(found, torch.optim.SGD) and found.defaults["nesterov"] and found.defaults["momentum"] == 0.9
    decays = {tuple(p.shape): group["weight_decay"] for group in found.param_groups for p in group["params"]}
    assert decays == {(4, 3, 3, 3): 5e-4, (4,): 0.0}


def test_run_of_a_version_without_an_option_is_resumed(sets, tmp_path):
    train(small(), *sets, tmp_path, replace(CONFIG, epochs=1, val_limit=1, epoch_images=4))
    content = torch.load(tmp_path / "last.pt", weights_only=True)
    del content["config"]["schedule"], content["config"]["augment"]
    torch.save(content, tmp_path / "last.pt")
    config = replace(CONFIG, epochs=1, val_limit=1, epoch_images=4)
    assert train(small(), *sets, tmp_path, config, resume=True).epoch == 1
    with pytest.raises(InputError, match="other schedule"):
        train(small(), *sets, tmp_path, replace(config, schedule="one-cycle"), resume=True)


def test_what_the_weights_do_not_tell_is_kept_in_the_state_to_resume_from(sets, tmp_path):
    config = replace(CONFIG, epochs=1, val_limit=1, epoch_images=4)
    model, same, again = small(), small(), small()
    for each in (model, same):
        each.load_extra_state({"image_encoder.heads": "2", "image_mean": "0.5, 0.5, 0.5"})
    train(model, *sets, tmp_path, config)
    load_weights(again, tmp_path / "last.pt")
    assert again.extra_state() == model.extra_state()
    assert train(same, *sets, tmp_path, config, resume=True).epoch == 1
    with pytest.raises(InputError, match=r"a run with other image_encoder\.heads, image_mean: give the weights"):
        train(small(), *sets, tmp_path, config, resume=True)


def test_augmentation_that_the_task_lacks_is_refused(sets, tmp_path):
    with pytest.raises(UsageError, match="--augment: the images of this task are not varied"):
        train(small(), *sets, tmp_path, replace(CONFIG, augment=True))


def test_sampler_gives_sentences_with_their_own_masks(sets):
    model, train_set = small(), sets[0]
    tokenizer = Tokenizer.from_file(model.tokenizer_json(), model.spec.text)
    sampler = SegmentationSampler(train_set, model.spec, tokenizer, sentences=20, seed=0)
    batch = join([sampler[0], sampler[1]])
    assert batch.images.shape == (2, 3, 64, 64)
    assert batch.masks.shape == (40, 1, 32, 32)
    assert batch.image_index.tolist() == [0] * 20 + [1] * 20
    for image in (0, 1):
        record = train_set[image]
        known = {
            tuple(tokenizer([text])[0]): train_set.mask(record, referring)
            for referring in record.referrings
            for text in referring.sentences
        }
        for row in range(20 * image, 20 * image + 20):
            mask = known[tuple(batch.tokens[row].numpy())]
            # Averaging halves each side: a 2×2 block's share of covered pixels.
            expected = mask.reshape(32, 2, 32, 2).mean(axis=(1, 3))
            np.testing.assert_allclose(batch.masks[row, 0].numpy(), expected, atol=1e-6)


def test_sampler_draws_anew_each_epoch_and_the_same_for_a_seed(sets):
    model = small()
    tokenizer = Tokenizer.from_file(model.tokenizer_json(), model.spec.text)

    def drawn(seed: int, epoch: int) -> list[list[int]]:
        sampler = SegmentationSampler(sets[0], model.spec, tokenizer, sentences=3, seed=seed)
        sampler.epoch = epoch
        return torch.cat([sampler[i].tokens for i in range(6)]).tolist()

    assert drawn(0, 0) == drawn(0, 0)
    assert drawn(0, 0) != drawn(0, 1)
    assert drawn(0, 0) != drawn(1, 0)


def test_class_masks_unite_what_is_said_of_each_class(sets):
    model, train_set = small(), sets[0]
    tokenizer = Tokenizer.from_file(model.tokenizer_json(), model.spec.text)
    sampler = SegmentationSampler(train_set, model.spec, tokenizer, sentences=2, seed=0)
    batch = join([sampler[2], sampler[3]])
    assert batch.class_tokens.tolist() == tokenizer(list(train_set.categories)).tolist()
    for row, image in enumerate((2, 3)):
        record = train_set[image]
        for plane, name in zip(batch.class_masks[row], train_set.categories, strict=True):
            masks = [train_set.mask(record, r) for r in record.referrings if r.category == name and not r.no_target]
            shares = [m.reshape(32, 2, 32, 2).mean(axis=(1, 3)) for m in masks]
            np.testing.assert_allclose(plane.numpy(), np.max([np.zeros((32, 32)), *shares], axis=0), atol=1e-6)


def test_mixture_validates_on_each_set_and_knows_only_its_own_classes(sets, tmp_path):
    own = open_dataset("coco-weak-masks", write_coco(tmp_path / "own"), "all")
    mixture = Mixture([sets[0], Augmented(own)], [1, 2])
    state = train(small(), mixture, [sets[1], own], tmp_path / "run", replace(CONFIG, epochs=1, epoch_images=6))
    (row,) = state.history
    each = [report["mIoU"] for report in row["sets"].values()]
    assert list(row["sets"]) == ["1: rrsis-d", "2: coco-weak-masks"] and row["mIoU"] == pytest.approx(np.mean(each))
    model = small()
    sampler = SegmentationSampler(
        mixture, model.spec, Tokenizer.from_file(model.tokenizer_json(), model.spec.text), sentences=2, seed=0
    )
    for index, part in ((0, sets[0]), (len(mixture) - 3, own)):
        planes = sampler[index].class_masks[0].flatten(1)
        known = [name for name, plane in zip(mixture.categories, planes, strict=True) if (plane >= 0).all()]
        assert known == list(part.categories) and ((planes == -1).all(1) | (planes >= 0).all(1)).all()
