"""The golden test's first part: a picture and sentences become the raw inputs that they became at the export."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from rsvl.export.bundle import write_manifest
from rsvl.export.golden import write_golden_inputs
from rsvl.runtime import tasks
from rsvl.runtime.check import check
from rsvl.runtime.manifest import VQA, ImageSpec, Manifest, TensorSpec
from tests.support.toy_bundle import tokenizer_json, toy_spec, write_bundle


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    folder = write_bundle(tmp_path / "bundle")
    write_golden_inputs(folder, toy_spec(), tokenizer_json())
    write_manifest(folder, Manifest(toy_spec(), "fp32"))
    return folder


def failures(folder: Path) -> list[str]:
    return [measure.name for measure in check(folder, "cpu", 1).measures if not measure.passed]


def test_bundle_as_exported_passes(exported: Path) -> None:
    assert failures(exported) == []
    assert len(np.load(exported / "golden" / "inputs.npz")["sentences"]) > 10


WRONG_IMAGES: dict[str, dict[str, object]] = {
    "mean": {"mean": (0.4, 0.0, 0.0)},
    "colours exchanged": {"std": (1.0, 0.5, 1.0)},
    "resampling": {"resize": "nearest"},
}


@pytest.mark.parametrize("fields", WRONG_IMAGES.values(), ids=WRONG_IMAGES.keys())
def test_wrong_preprocessing_fails(exported: Path, fields: dict[str, object]) -> None:
    image: ImageSpec = dataclasses.replace(toy_spec().images[0], **fields)  # type: ignore[arg-type]
    write_manifest(exported, Manifest(dataclasses.replace(toy_spec(), images=(image,)), "fp32"))
    assert failures(exported) == ["image from pixels, gray levels"]


def test_wrong_threshold_fails(exported: Path) -> None:
    write_manifest(exported, Manifest(dataclasses.replace(toy_spec(), threshold=0.9), "fp32"))
    assert "threshold difference" in failures(exported)


def test_tokenizer_that_lost_a_word_fails(exported: Path) -> None:
    data = json.loads((exported / "tokenizer.json").read_text())
    data["model"]["vocab"]["lost"] = data["model"]["vocab"].pop("the")
    (exported / "tokenizer.json").write_text(json.dumps(data))
    write_manifest(exported, Manifest(toy_spec(), "fp32"))
    assert failures(exported) == ["sentences of the same tokens"]


CASES = {
    "a dead segmenter": ("referring-segmentation", {"mask_logits": np.full((4, 1, 32, 32), -3.0)}, "same output"),
    "background": (
        "referring-segmentation",
        {"mask_logits": np.random.default_rng(0).normal(-9, 0.1, (4, 1, 64, 64))},
        "all background",
    ),
    "one answer": (VQA, {"answer_logits": np.array([[2.0, 1.0], [3.0, 1.0]] * 2)}, "same answer"),
    "two answers": (VQA, {"answer_logits": np.array([[2.0, 1.0], [1.0, 3.0]])}, ""),
}


@pytest.mark.parametrize("name", CASES)
def test_comparison_that_sees_nothing_says_so(name: str) -> None:
    task, outputs, lack = CASES[name]
    spec = dataclasses.replace(toy_spec(), task=task)
    spec = dataclasses.replace(
        spec,
        graphs=(
            dataclasses.replace(spec.graphs[-1], outputs=tuple(TensorSpec(output, ("batch",)) for output in outputs)),
        ),
    )
    found = tasks.coverage(spec, outputs)
    assert lack in found.lack and bool(lack) == bool(found.lack)
