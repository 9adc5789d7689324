"""Graphs in several forms: each backend takes its own, the others the standard one, and all are trusted alike."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from rsvl.runtime.backends.session import Session, to_numpy
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.check import check
from rsvl.runtime.errors import BundleError
from rsvl.runtime.manifest import GraphVariant, Manifest, seal
from tests.support.installed import needs
from tests.support.toy_bundle import COLOURS, expected_logits, write_manifest

FACTORS = {"head.onnx": 30.0, "head.onnxruntime.onnx": 31.0, "head.openvino.onnx": 32.0}
"""The head's last factor in each of its files: by the answer one sees which of them ran."""


@pytest.fixture
def varied(bundle: Path, tmp_path: Path) -> Path:
    """The toy's bundle with a variant of its head for each backend."""
    folder = Path(shutil.copytree(bundle, tmp_path / "varied"))
    manifest = Manifest.from_json((folder / "manifest.json").read_text())
    for file, factor in FACTORS.items():
        model = onnx.load(folder / "head.onnx")
        (thirty,) = (constant for constant in model.graph.initializer if constant.name == "thirty")
        thirty.CopyFrom(onnx.numpy_helper.from_array(np.float32(factor), "thirty"))
        onnx.save(model, folder / file)
    variants = tuple(GraphVariant(backend, f"head.{backend}.onnx") for backend in ("onnxruntime", "openvino"))
    graphs = tuple(replace(graph, variants=variants if graph.name == "head" else ()) for graph in manifest.model.graphs)
    write_manifest(folder, replace(manifest, model=replace(manifest.model, graphs=graphs)))
    return folder


def factor(bundle: Path, provider: str) -> float:
    """What the head that runs multiplies by."""
    image, colour = np.zeros((1, 3, 32, 32), np.float32), np.array([COLOURS["red"]], np.float32)
    outputs = Session(Bundle(bundle), provider).run({"pixels": image, "colour": colour}, ["head"])
    return float(30 * (to_numpy(outputs["mask_logits"]) / expected_logits(image, colour)).mean())


def test_onnxruntime_on_the_cpu_takes_its_variant(varied: Path) -> None:
    assert factor(varied, "cpu") == pytest.approx(31)


@needs("openvino")
def test_openvino_takes_its_variant(varied: Path) -> None:
    assert factor(varied, "openvino") == pytest.approx(32)


def test_others_take_the_standard_graph(varied: Path) -> None:
    bundle = Bundle(varied)
    (head,) = (graph for graph in bundle.manifest.model.graphs if graph.name == "head")
    assert bundle.graph(head).name == bundle.graph(head, "tensorrt").name == "head.onnx"


def test_manifest_of_a_reader_that_knows_no_variants_is_read_without_them(varied: Path) -> None:
    data = json.loads((varied / "manifest.json").read_text())
    assert data["schema"] == 4  # which such a reader takes
    for graph in data["model"]["graphs"]:
        del graph["variants"]
    graphs = Manifest.from_json(json.dumps(seal(data))).model.graphs
    assert [graph.variants for graph in graphs] == [(), (), ()]


@pytest.mark.parametrize("file", ["head.onnxruntime.onnx", "head.openvino.onnx"])
def test_variant_that_was_changed_or_removed_is_refused_by_name(varied: Path, file: str) -> None:
    model = onnx.load(varied / file)
    model.doc_string = "changed"
    onnx.save(model, varied / file)
    with pytest.raises(BundleError, match=rf"{file} has changed since export"):
        check(varied, provider="cpu")
    (varied / file).unlink()
    with pytest.raises(BundleError, match=rf"{file} is missing"):
        Bundle(varied)


def test_variant_that_is_not_listed_is_refused(varied: Path) -> None:
    data = json.loads((varied / "manifest.json").read_text())
    del data["files"]["head.openvino.onnx"]
    (varied / "manifest.json").write_text(json.dumps(seal(data)))
    (varied / "head.openvino.onnx").unlink()
    with pytest.raises(BundleError, match=r"does not list 'head\.openvino\.onnx'"):
        Bundle(varied)


def test_two_variants_for_one_backend_are_refused(varied: Path) -> None:
    data = json.loads((varied / "manifest.json").read_text())
    data["model"]["graphs"][2]["variants"][1]["backend"] = "onnxruntime"
    (varied / "manifest.json").write_text(json.dumps(seal(data)))
    with pytest.raises(BundleError, match="graph head has two variants for one backend"):
        Bundle(varied)


def test_variant_with_weights_outside_of_the_bundle_is_refused(varied: Path) -> None:
    model = onnx.load(varied / "head.onnxruntime.onnx")
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], "../../secret")
    model.graph.initializer[0].ClearField("raw_data")
    (varied / "head.onnxruntime.onnx").write_bytes(model.SerializeToString())
    write_manifest(varied, Manifest.from_json((varied / "manifest.json").read_text()))
    with pytest.raises(BundleError, match=r"head\.onnxruntime\.onnx cannot be used, its weights lie outside"):
        Session(Bundle(varied), "cpu")
