"""`rsvl info`: what it shows of bundles of every kind, and that it needs nothing but the light runtime."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from rsvl.runtime.backends.tensorrt.keys import Builder, EngineKey, source_hash
from rsvl.runtime.backends.tensorrt.store import EngineStore
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.manifest import CLASSIFICATION, VQA, GraphVariant, Manifest
from tests.support.outcome import Rsvl
from tests.support.toy_bundle import SIZE, write_bundle, write_manifest
from tests.support.toy_tasks import write_task_bundle


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A bundle that says all that a bundle can say, and has an engine."""
    folder = write_bundle(tmp_path / "own.bundle")
    manifest = Manifest.from_json((folder / "manifest.json").read_text())
    measures = [{"name": "mask IoU", "value": 0.9991, "limit": 0.995, "at_least": True}]
    said = replace(
        manifest,
        source={"weights": "best.safetensors", "sha256": "0123456789abcdef" * 4},
        kept_fp32={"head.mask": "its accuracy"},
        verification={"inputs": 8, "reference": "PyTorch", "measures": measures},
        metrics={"mIoU": 0.675},
        versions={"rsvl": "0.1.0", "torch": "2.13.0"},
    )
    write_manifest(folder, said)
    bundle = Bundle(folder)
    (text,) = (graph for graph in bundle.manifest.model.graphs if graph.name == "text")
    key = EngineKey(
        Builder("tensorrt_rtx", "1.7.1", "any", "any"),
        "text",
        "fp32",
        source_hash(bundle, text),
        {"tokens": ((1, 8), (1, 8), (4, 8))},
    )
    EngineStore(bundle).write(key, b"an engine", layers=3, seconds=1.5)
    return folder


def test_bundle_is_described_for_people(rsvl: Rsvl, own: Path) -> None:
    shown = rsvl("info", own)
    assert shown.code == 0 and shown.err == ""
    for said in (
        "toy in fp32",
        "task:          referring-segmentation",
        "best.safetensors (SHA-256 0123456789abcdef…)",
        f"image: optical, {SIZE}×{SIZE}, bilinear; text: 8 tokens",
        "stays fp32:    head.mask",
        "8 inputs against PyTorch: mask IoU 0.9991",
        "metrics:       mIoU 0.6750",
        "made with:     rsvl 0.1.0, torch 2.13.0",
        f"[batch, 3, {SIZE}, {SIZE}]",
        "tensorrt_rtx 1.7.1",
    ):
        assert said in shown.out
    rows = [line.split()[:4] for line in shown.out.splitlines()]
    assert ["input", "tokens", "[batch,", "8]"] in rows and ["output", "mask_logits", "[batch,", "1,"] in rows


def test_bundle_is_described_for_programs(rsvl: Rsvl, own: Path) -> None:
    found = rsvl("info", own, "--json").json
    assert (found["bundle"], found["packed"], found["precision"]) == (str(own), False, "fp32")
    files = {path for path in own.rglob("*") if path.is_file() and "engines" not in path.parts}
    listed = {own / name: about for name, about in found["files"].items()}
    assert set(listed) == files - {own / "manifest.json"}
    for path, about in listed.items():
        content = path.read_bytes()
        assert about == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert found["bytes"] == sum(about["bytes"] for about in listed.values())
    assert [graph["name"] for graph in found["model"]["graphs"]] == ["image", "text", "head"]
    assert found["metrics"] == {"mIoU": 0.675} and found["source"]["weights"] == "best.safetensors"
    (engine,) = found["engines"]
    assert (engine["graph"], engine["bytes"], engine["profile"]["tokens"]) == ("text", 9, [[1, 8], [1, 8], [4, 8]])


def test_variants_are_listed_with_their_sizes(rsvl: Rsvl, own: Path) -> None:
    manifest = Manifest.from_json((own / "manifest.json").read_text())
    shutil.copy(own / "head.onnx", own / "head.openvino.onnx")
    *others, head = manifest.model.graphs
    head = replace(head, variants=(GraphVariant("openvino", "head.openvino.onnx"),))
    write_manifest(own, replace(manifest, model=replace(manifest.model, graphs=(*others, head))))
    found = rsvl("info", own, "--json").json
    assert [graph["variants"] for graph in found["model"]["graphs"]] == [
        [],
        [],
        [{"backend": "openvino", "file": "head.openvino.onnx"}],
    ]
    assert "openvino 0.00" in " ".join(rsvl("info", own).out.split())


def test_packed_bundle_is_described_alike(rsvl: Rsvl, bundle: Path, tmp_path: Path) -> None:
    packed = tmp_path / "toy.rsvl"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in bundle.rglob("*"):
            archive.write(path, path.relative_to(bundle))
    folder, file = (rsvl("info", each, "--json").json for each in (bundle, packed))
    assert file["packed"] and {**file, "bundle": "", "packed": False} == {**folder, "bundle": ""}


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (VQA, "answers:       3"),
        (CLASSIFICATION, "classes:       red, green, blue (3; temperature 1)"),
        ("doubling", "task:          doubling"),
    ],
)
def test_bundle_of_every_task_is_described(rsvl: Rsvl, task: str, said: str, tmp_path: Path) -> None:
    shown = rsvl("info", write_task_bundle(tmp_path / "toy", task))
    assert shown.code == 0 and said in shown.out


def test_changed_weights_are_not_noticed_but_missing_ones_are(rsvl: Rsvl, bundle: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    (copy / "head.onnx").write_bytes(b"changed")
    assert rsvl("info", copy).code == 0
    (copy / "head.onnx").unlink()
    assert "head.onnx is missing" in rsvl("info", copy).error
