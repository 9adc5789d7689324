"""Shipped weights and the recipes that make them."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from rsvl import registry
from rsvl.benchmarks.laboratory.shipped_weights import TrainingRecipe, ablate, recipe, recipes, retrain
from rsvl.checkpoints import load, load_weights, read_metadata, read_state_dict
from rsvl.checkpoints.loading import SHIPPED
from rsvl.data.catalog import DATASETS
from rsvl.runtime.errors import UsageError
from rsvl.tasks import evaluation_of
from rsvl.tasks.mixing import Ingredient
from rsvl.train.config import TrainConfig
from tests.support.coco_file import write as write_coco

SMALL = TrainingRecipe(
    data="osvqa",
    scenes={"task": "vqa", "scenes": 4, "seed": 3, "size": 64, "val": 1, "test": 1},
    train=TrainConfig(epochs=1, batch=2, sentences=2, workers=0, seed=1),
)


def test_every_shipped_file_has_its_recipe_and_they_are_small_enough_to_ship():
    files = sorted(SHIPPED.glob("*.safetensors"))
    assert [file.stem for file in files] == recipes()
    assert sum(file.stat().st_size for file in files) < 48e6


@pytest.mark.parametrize("name", recipes())
def test_recipe_names_a_dataset_of_the_models_task(name):
    model = registry.create(name)
    assert DATASETS[recipe(name).data].kind in evaluation_of(model.spec.task).DATASET_TYPES


def test_unknown_recipe_is_refused_with_those_that_there_are():
    with pytest.raises(UsageError, match="cd2fsan-tiny"):
        recipe("cd2fsan")


def test_retraining_leaves_weights_in_half_precision_and_the_test_splits_metrics(tmp_path):
    torch.set_num_threads(1)
    done: list[tuple[float, float]] = []
    found = retrain("tgfnet-tiny", SMALL, tmp_path, lambda *step: done.append(step[:2]))
    shipped = tmp_path / "tgfnet-tiny.safetensors"
    assert json.loads((tmp_path / "tgfnet-tiny.json").read_text()) == found
    assert found["count"] > 0 and done[-1] == (1, 1)
    assert read_metadata(shipped)["recipe"] == "tgfnet-tiny.json"
    stored, best = read_state_dict(shipped), read_state_dict(tmp_path / "tgfnet-tiny" / "best.safetensors")
    for name, _ in registry.create("tgfnet-tiny").named_parameters():
        assert stored[name].dtype == torch.float16, name
        np.testing.assert_array_equal(stored[name].numpy(), best[name].numpy().astype(np.float16), err_msg=name)
    assert {name for name in best if name not in stored} == {name for name in best if name.endswith("batches_tracked")}


def test_training_starts_from_the_weights_that_a_recipe_names(tmp_path):
    torch.set_num_threads(1)
    scenes = {"task": "referring-segmentation", "scenes": 3, "seed": 3, "size": 64, "val": 1, "test": 1}
    start = TrainingRecipe(
        "rrsis-d", scenes, TrainConfig(epochs=1, batch=1, sentences=1, lr=0.0, workers=0), "cd2fsan-tiny"
    )
    retrain("cd2fsan-tiny", start, tmp_path)
    model = registry.create("cd2fsan-tiny")
    load_weights(model, tmp_path / "cd2fsan-tiny.safetensors")
    shipped = read_state_dict(SHIPPED / "cd2fsan-tiny.safetensors")
    for name, value in model.named_parameters():
        torch.testing.assert_close(value.half(), shipped[name], rtol=0, atol=0, msg=name)


def test_every_ablation_is_trained_by_the_same_recipe(tmp_path):
    torch.set_num_threads(1)
    scenes = {"task": "grounding", "sensor": "optical", "scenes": 3, "seed": 3, "size": 64, "val": 1, "test": 1}
    short = TrainingRecipe("optsar-rsvg", scenes, TrainConfig(epochs=1, batch=1, sentences=1, workers=0))
    found = ablate("optisar-net++-tiny", short, tmp_path)
    assert json.loads((tmp_path / "optisar-net++-tiny-ablations.json").read_text()) == found
    experts = {}
    for name in found:
        stored = read_state_dict(tmp_path / f"optisar-net++-tiny-{name.replace(' ', '-')}" / "best.safetensors")
        experts[name] = next(value.shape[0] for key, value in stored.items() if key.endswith("enter.a"))
    assert experts == {"PL-MoE": 4, "one shared expert": 1, "one expert per sensor": 2}


def test_model_without_ablations_is_refused(tmp_path):
    with pytest.raises(UsageError, match="tgfnet-tiny has no ablations"):
        ablate("tgfnet-tiny", SMALL, tmp_path)


def test_retraining_goes_on_with_real_images(tmp_path):
    torch.set_num_threads(1)
    scenes = {"task": "referring-segmentation", "scenes": 3, "seed": 3, "size": 64, "val": 1, "test": 1}
    still = TrainConfig(epochs=1, batch=1, sentences=1, lr=0.0, workers=0)
    mixed = TrainConfig(epochs=1, batch=2, sentences=1, epoch_images=4, workers=0, seed=2)
    own = Ingredient("coco-weak-masks", "own", "site=B", "site=A")
    found = TrainingRecipe("rrsis-d", scenes, still, "cd2fsan-tiny", (own,), mixed)
    with pytest.raises(UsageError, match="name the folder with own"):
        retrain("cd2fsan-tiny", found, tmp_path)
    write_coco(tmp_path / "own")
    retrain("cd2fsan-tiny", found, tmp_path, real=tmp_path)
    history = json.loads((tmp_path / "cd2fsan-tiny" / "history.json").read_text())["epochs"]
    assert list(history[0]["sets"]) == ["1: rrsis-d", "2: coco-weak-masks"]
    before, after = (
        read_state_dict(tmp_path / run / "best.safetensors") for run in ("cd2fsan-tiny-scenes", "cd2fsan-tiny")
    )
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_recipe_without_scenes_learns_from_real_images_alone(tmp_path):
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    for name in ("farm", "port"):
        (tmp_path / "own" / name).mkdir(parents=True)
        for k in range(6):
            pixels = rng.integers(0, 255, (16, 16, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "own" / name / f"{k}.png")
    short = TrainConfig(epochs=1, batch=4, workers=0, optimizer="sgd", schedule="one-cycle", warmup=1, augment=True)
    own = Ingredient("eurosat", "own", "train@3", "val@3", test="test@3")
    found = retrain(
        "bamta-tiny", TrainingRecipe("eurosat", {}, short, real=(own,), notes=("Mine.",)), tmp_path, real=tmp_path
    )
    assert found["count"] == 2 and found["confusion"]["classes"] == ["farm", "port"]
    assert read_metadata(tmp_path / "bamta-tiny.safetensors")["notes"] == "Mine."
    model = load("bamta-tiny", tmp_path / "bamta-tiny.safetensors")
    assert model.spec.classes == ("farm", "port")
    assert read_metadata(tmp_path / "bamta-tiny" / "best.safetensors")["data"] == "eurosat train@3"
