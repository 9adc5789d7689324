"""A declaration survives its journey through `manifest.json`, and tells its raw inputs and final outputs."""

from __future__ import annotations

import dataclasses
import json

import pytest

from rsvl.runtime.errors import BundleError, UsageError
from rsvl.runtime.manifest import (
    VQA,
    GraphSpec,
    ImageSpec,
    Manifest,
    ModelSpec,
    TensorSpec,
    TextSpec,
)


def tensor(name: str) -> TensorSpec:
    return TensorSpec(name, ("batch", 4))


OPTICAL = ImageSpec(32, (0.5,) * 3, (0.25,) * 3, name="optical")
SAR = ImageSpec(32, (0.4,), (0.2,), 1, "bicubic", "sar", ("sar",))
GRAPHS = (
    GraphSpec("optical", (tensor("optical"),), (tensor("seen"), tensor("kept")), "optical.onnx"),
    GraphSpec("sar", (tensor("sar"),), (tensor("echo"),), "sar.onnx"),
    GraphSpec("head", (tensor("seen"), tensor("echo"), tensor("sensors")), (tensor("answer_logits"),), "head.onnx"),
)
PAIR = ModelSpec("pair", VQA, "none", (OPTICAL, SAR), TextSpec(9, 3), GRAPHS, 0.3, ("yes", "no"))
OWN = ModelSpec("own", "counting", "none", (), None, GRAPHS[:1])


@pytest.mark.parametrize("spec", [PAIR, OWN], ids=["a pair of sensors", "no image, no text"])
def test_declaration_is_read_back_as_it_was_written(spec: ModelSpec) -> None:
    manifest = Manifest(spec, "fp16", {"optical.onnx": "0" * 64}, {"weights": "random"})
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_raw_inputs_are_what_no_graph_makes_and_final_outputs_what_none_takes() -> None:
    assert list(PAIR.raw_inputs) == ["optical", "sar", "sensors"]
    assert list(PAIR.final_outputs) == ["kept", "answer_logits"]


def test_first_image_and_the_words_are_at_hand_or_missed_by_name() -> None:
    assert (PAIR.image, PAIR.words) == (OPTICAL, TextSpec(9, 3))
    with pytest.raises(UsageError, match="own takes no image"):
        _ = OWN.image
    with pytest.raises(UsageError, match="own takes no text"):
        _ = OWN.words


def test_manifest_keeps_what_a_model_has_learned_from_and_reads_those_without() -> None:
    spec = dataclasses.replace(OPTICAL, trained_side=800, trained_resolution=(0.5, 30.0), keep_aspect=True)
    manifest = Manifest(ModelSpec("x", "other", "", (spec,), None, ()), "fp32")
    assert Manifest.from_json(manifest.to_json()).model.image == spec
    data = json.loads(manifest.to_json())
    for name in ("trained_side", "trained_resolution", "keep_aspect"):
        del data["model"]["images"][0][name]
    assert Manifest.from_json(json.dumps(data)).model.image == OPTICAL


@pytest.mark.parametrize(
    "more", [{"trained_side": -1}, {"trained_resolution": (1.0,)}, {"trained_resolution": (0.0, 1.0)}]
)
def test_manifest_with_impossible_training_images_is_refused(more: dict) -> None:
    manifest = Manifest(ModelSpec("x", "other", "", (dataclasses.replace(OPTICAL, **more),), None, ()), "fp32")
    with pytest.raises(BundleError, match="not a valid bundle manifest"):
        Manifest.from_json(manifest.to_json())
