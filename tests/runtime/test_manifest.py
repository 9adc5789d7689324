"""A declaration survives its journey through `manifest.json`, and tells its raw inputs and final outputs."""

from __future__ import annotations

import dataclasses
import json
from contextlib import suppress
from typing import Any

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
    seal,
)


def tensor(name: str) -> TensorSpec:
    return TensorSpec(name, ("batch", 4))


def pixels(name: str, channels: int) -> TensorSpec:
    return TensorSpec(name, ("batch", channels, 32, 32))


OPTICAL = ImageSpec(32, (0.5,) * 3, (0.25,) * 3, name="optical")
SAR = ImageSpec(32, (0.4,), (0.2,), 1, "bicubic", "sar", ("sar",))
GRAPHS = (
    GraphSpec("optical", (pixels("optical", 3),), (tensor("seen"), tensor("kept")), "optical.onnx"),
    GraphSpec("sar", (pixels("sar", 1),), (tensor("echo"),), "sar.onnx"),
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
    assert Manifest.from_json(json.dumps(seal(data))).model.image == OPTICAL


@pytest.mark.parametrize(
    "more", [{"trained_side": -1}, {"trained_resolution": (1.0,)}, {"trained_resolution": (0.0, 1.0)}]
)
def test_manifest_with_impossible_training_images_is_refused(more: dict) -> None:
    manifest = Manifest(ModelSpec("x", "other", "", (dataclasses.replace(OPTICAL, **more),), None, ()), "fp32")
    with pytest.raises(BundleError, match="not a valid bundle manifest"):
        Manifest.from_json(manifest.to_json())


@pytest.mark.parametrize("letterbox", [None, 114, (123, 117, 104)])
def test_manifest_keeps_how_masks_lie_on_the_image_and_reads_those_without(letterbox: Any) -> None:
    image = dataclasses.replace(OPTICAL, letterbox=letterbox)
    manifest = Manifest(ModelSpec("x", "other", "", (image,), None, (), align_corners=True), "fp32")
    assert Manifest.from_json(manifest.to_json()) == manifest
    data = json.loads(manifest.to_json())
    del data["model"]["align_corners"], data["model"]["images"][0]["letterbox"]
    read = Manifest.from_json(json.dumps(seal(data))).model
    assert not read.align_corners and read.image.letterbox is None


@pytest.mark.parametrize("letterbox", [-1, 256, (0, 0), (0, 0, 300)])
def test_manifest_with_an_impossible_border_is_refused(letterbox: Any) -> None:
    image = dataclasses.replace(OPTICAL, letterbox=letterbox)
    with pytest.raises(BundleError, match="a letterbox is a gray or a colour, each value 0 to 255"):
        Manifest.from_json(Manifest(ModelSpec("x", "other", "", (image,), None, ()), "fp32").to_json())


def test_no_flipped_bit_gives_another_manifest() -> None:
    manifest = Manifest(PAIR, "fp16", {"optical.onnx": "0" * 64}, {"weights": "random"})
    text = manifest.to_json().encode()
    accepted = 0
    for bit in range(len(text) * 8):
        flipped = bytearray(text)
        flipped[bit // 8] ^= 1 << bit % 8
        with suppress(BundleError, UnicodeDecodeError):
            assert Manifest.from_json(flipped.decode()) == manifest, flipped[bit // 8 - 20 : bit // 8 + 20]
            accepted += 1
    assert accepted < len(text)  # blanks between the fields


def change(**fields: object) -> str:
    """The manifest of `PAIR` with other fields, sealed anew; ``images__mean`` is the first image's mean."""
    data = json.loads(Manifest(PAIR, "fp16").to_json())
    for name, value in fields.items():
        place, _, key = name.rpartition("__")
        target = data if not place else data["model"] if place == "model" else data["model"][place]
        (target[0] if isinstance(target, list) else target)[key] = value
    return json.dumps(seal(data))


IMPOSSIBLE = {
    "threshold 0": {"model__threshold": 0},
    "threshold 1": {"model__threshold": 1.0},
    "threshold NaN": {"model__threshold": "NaN"},
    "mean NaN": {"images__mean": ["NaN", 0.5, 0.5]},
    "std infinite": {"images__std": ["Infinity", 0.5, 0.5]},
    "size that the graph does not take": {"images__size": 31},
    "size of a galaxy": {"images__size": 10**9},
    "input that no graph takes": {"images__name": "optica1"},
    "negative padding": {"text__pad": -1},
    "tokens beyond memory": {"text__tokens": 10**9},
    "precision": {"precision": "zzz"},
}


@pytest.mark.parametrize("fields", IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
def test_impossible_value_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(BundleError, match="not a valid bundle manifest"):
        Manifest.from_json(change(**fields))


def test_sealed_manifest_that_was_changed_says_so_and_an_old_one_has_no_seal() -> None:
    text = Manifest(PAIR, "fp16").to_json()
    with pytest.raises(BundleError, match="changed since export"):
        Manifest.from_json(text.replace('"threshold": 0.3', '"threshold": 0.2'))
    old = Manifest(PAIR, "fp16", schema=2)
    assert "sha256" not in json.loads(old.to_json())
    assert Manifest.from_json(old.to_json()) == old
    with pytest.raises(BundleError, match="NaN is no number"):
        Manifest.from_json(old.to_json().replace('"threshold": 0.3', '"threshold": NaN'))
