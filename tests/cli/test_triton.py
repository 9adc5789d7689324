"""`rsvl triton`: what it writes, says and refuses."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from rsvl.runtime.manifest import CLASSIFICATION, VQA
from tests.support.outcome import Rsvl
from tests.support.toy_bundle import write_bundle
from tests.support.toy_tasks import write_task_bundle
from tests.support.triton_server import infer, read_config


def test_repository_serves_the_bundle(rsvl: Rsvl, bundle: Path, tmp_path: Path) -> None:
    repository = tmp_path / "models"
    shown = rsvl("triton", bundle, repository, "--name", "ships", "--max-batch-size", 4, "--gpu", "--instances", 2)
    assert (shown.code, shown.err) == (0, "")
    assert "ensemble ships of ships-image, ships-text, ships-head" in shown.out
    assert f"tritonserver --model-repository={repository}" in shown.out
    (group,) = read_config(repository / "ships-head")["instance_group"]
    assert (group["kind"], group["count"]) == (["KIND_GPU"], [2])
    tensors = dict(np.load(bundle / "golden/golden.npz"))
    expected = tensors.pop("mask_logits")
    np.testing.assert_allclose(infer(repository, "ships", tensors)["mask_logits"], expected, atol=1e-4)


def test_json_tells_what_to_send(rsvl: Rsvl, bundle: Path, tmp_path: Path) -> None:
    told = rsvl("triton", bundle, tmp_path / "models", "--json").json
    assert told["ensemble"] == "toy" and told["max_batch_size"] == 8 and told["warmed_up"] is True
    assert told["models"] == {"image": "toy-image", "text": "toy-text", "head": "toy-head"}
    assert [(t["name"], t["shape"], t["dtype"]) for t in told["inputs"]] == [
        ("image", ["batch", 3, 32, 32], "float32"),
        ("tokens", ["batch", 8], "int64"),
    ]
    assert told["inputs"][0]["values"] == "(x / 255 - mean) / std; mean 0 0 0, std 1 1 1"
    assert [(t["name"], t["shape"]) for t in told["outputs"]] == [("mask_logits", ["batch", 1, 32, 32])]


def test_inputs_of_image_pairs_are_explained(rsvl: Rsvl, tmp_path: Path) -> None:
    told = rsvl("triton", write_task_bundle(tmp_path / "vqa.bundle", VQA), tmp_path / "models", "--json").json
    values = {tensor["name"]: tensor["values"] for tensor in told["inputs"]}
    assert list(values) == ["optical", "sar", "tokens", "sensors"] and "0 where it is missing" in values["sensors"]


def test_bundle_without_golden_test_is_told(rsvl: Rsvl, tmp_path: Path) -> None:
    shown = rsvl("triton", write_task_bundle(tmp_path / "c.bundle", CLASSIFICATION), tmp_path / "models")
    assert shown.code == 0 and "no golden test" in shown.err


def test_wrong_use_is_one_line(rsvl: Rsvl, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    foreign = rsvl("triton", bundle, tmp_path / "mine")
    assert foreign.code == 1 and "notes.txt" in foreign.error
    for arguments in (
        (tmp_path / "none.bundle", tmp_path / "models"),
        (bundle, tmp_path / "models", "--name", "a/b"),
        (bundle, tmp_path / "models", "--instances", "0"),
        (bundle,),
    ):
        refused = rsvl("triton", *arguments)
        assert refused.code == 2 and refused.error, arguments
    assert not (tmp_path / "models").exists()


def test_packed_bundle_in_a_folder_to_come(rsvl: Rsvl, tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "toy.bundle")
    with zipfile.ZipFile(tmp_path / "toy.rsvl", "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.write(path, path.relative_to(folder).as_posix())
    assert rsvl("triton", tmp_path / "toy.rsvl", tmp_path / "a/b/models").code == 0
    assert (tmp_path / "a/b/models/toy-head/1/model.onnx").read_bytes() == (folder / "head.onnx").read_bytes()
