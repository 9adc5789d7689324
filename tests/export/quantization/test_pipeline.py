"""A float32 bundle in 8 bits: the same as an export's, without PyTorch, with its reference on record."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from rsvl.data.synth import write
from rsvl.export import Exported, Images, QuantizationSettings, export, quantize
from rsvl.export.bundle import write_manifest
from rsvl.export.variants import backends_of, winograd
from rsvl.metrics.drop import Drop
from rsvl.runtime.bundle import GOLDEN, Bundle
from rsvl.runtime.cache import CACHE
from rsvl.runtime.check import check
from rsvl.runtime.errors import BundleError, OutputError, UsageError, VerificationError
from rsvl.runtime.manifest import Manifest
from tests.support.toy_segmenter import ToySegmenter, raw_samples

KEPT = {"blocks.1": "to test it"}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> QuantizationSettings:
    """Everything into 8 bits, calibrated on three images."""
    root = write(tmp_path_factory.mktemp("synth") / "root", 4, seed=1, size=64, val=1, test=0).root
    return QuantizationSettings(Images("rrsis-d", root, "train", 3))


def toy() -> ToySegmenter:
    torch.manual_seed(0)
    model = ToySegmenter()
    model.keep_fp32 = KEPT
    return model


@pytest.fixture(scope="module")
def float32(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exported]:
    """The toy's float32 bundle, with a variant of its image graph, packed too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd, "MIN_CHANNELS", 5)
        patch.setattr(winograd, "MIN_KERNELS", 1)
        patch.setattr(winograd, "MIN_PIXELS", 4)
        yield export(toy(), tmp_path_factory.mktemp("float32") / "toy", pack=True)


@pytest.fixture(scope="module")
def in_int8(float32: Exported, settings: QuantizationSettings, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return quantize(float32.path, tmp_path_factory.mktemp("int8") / "toy-int8", "int8", settings)


def constants(path: Path) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}


def test_graphs_are_those_of_an_export_to_int8(
    float32: Exported, in_int8: Exported, settings: QuantizationSettings, tmp_path: Path
) -> None:
    assert backends_of(float32.manifest) == ["onnxruntime"]
    assert backends_of(in_int8.manifest) == ["onnxruntime"]  # of the convolution that stays float
    direct = export(toy(), tmp_path / "toy", "int8", quantization=settings)
    for spec in direct.manifest.model.graphs:
        pair = [onnx.load(bundle.path / spec.file) for bundle in (direct, in_int8)]
        onnx.checker.check_model(pair[1], full_check=True)
        operations = [[node.op_type for node in model.graph.node] for model in pair]
        assert operations[0] == operations[1]
        assert direct.manifest.model == in_int8.manifest.model
        values = [[a.tobytes() for a in constants(bundle.path / spec.file).values()] for bundle in (direct, in_int8)]
        assert sorted(values[0]) == sorted(values[1])
    assert direct.manifest.quantization == in_int8.manifest.quantization
    assert direct.manifest.kept_fp32 == in_int8.manifest.kept_fp32 == KEPT


def test_bundle_passes_its_check_and_names_its_reference(float32: Exported, in_int8: Exported) -> None:
    assert check(in_int8.path, provider="cpu").passed
    manifest = Bundle(in_int8.path).manifest
    assert (manifest.precision, manifest.source) == ("int8", float32.manifest.source)
    assert manifest.verification["reference"] == "toy"
    digest = hashlib.sha256((float32.path / "manifest.json").read_bytes()).hexdigest()
    assert manifest.verification["reference_sha256"] == digest
    assert manifest.versions["torch"] == float32.manifest.versions["torch"]
    assert (in_int8.path / GOLDEN).read_bytes() == (float32.path / GOLDEN).read_bytes()  # what PyTorch gave


def test_packed_bundle_gives_the_same(
    float32: Exported, in_int8: Exported, settings: QuantizationSettings, tmp_path: Path
) -> None:
    assert float32.packed is not None
    again = quantize(float32.packed, tmp_path / "again", "int8", settings, pack=True)
    assert again.packed is not None and zipfile.is_zipfile(again.packed)
    assert {name: digest for name, digest in again.manifest.files.items() if name.endswith(".onnx")} == {
        name: digest for name, digest in in_int8.manifest.files.items() if name.endswith(".onnx")
    }


def test_mix_is_measured_against_the_float32_bundle(
    float32: Exported, settings: QuantizationSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    measured = dataclasses.replace(settings, labelled=settings.calibration, agreement=True, max_drop=Drop(1.0))
    found = quantize(float32.path, tmp_path / "mix", "int8", measured).manifest.quantization
    assert found is not None and (found.figure, found.baseline) == ("agreement", 1.0)
    assert found.value is not None and 0.5 < found.value < 1


def test_disagreement_with_the_float32_bundle_writes_nothing(float32: Exported, tmp_path: Path) -> None:
    wrong = {name: array.copy() for name, array in raw_samples().items()}
    wrong["image"] *= np.float32("nan")
    with pytest.raises(VerificationError, match="values that are not finite"):
        quantize(float32.path, tmp_path / "int8", "int8", QuantizationSettings(None), wrong)
    assert list(tmp_path.iterdir()) == []


def changed(float32: Exported, folder: Path, **fields: object) -> Path:
    """A copy of the bundle with other fields in its manifest."""
    with zipfile.ZipFile(str(float32.packed)) as packed:
        packed.extractall(folder)
    write_manifest(folder, dataclasses.replace(Manifest.from_json((folder / "manifest.json").read_text()), **fields))
    return folder


def test_bundle_of_another_precision_is_refused(float32: Exported, tmp_path: Path) -> None:
    half = changed(float32, tmp_path / "half", precision="fp16")
    with pytest.raises(UsageError, match="quantize the float32 bundle"):
        quantize(half, tmp_path / "int8", "int8", QuantizationSettings(None))


@pytest.mark.parametrize(
    ("precision", "output", "error", "said"),
    [
        ("int4", "int8", UsageError, "quantize to int8 or fp8"),
        ("fp8", "fp8", UsageError, "fp8 is calibrated"),
        ("int8", "toy", UsageError, "is the bundle to quantize"),
        ("int8", "manifest.json", OutputError, "is a file"),
    ],
)
def test_what_does_not_fit_is_refused(
    precision: str, output: str, error: type[Exception], said: str, float32: Exported, tmp_path: Path
) -> None:
    copy = changed(float32, tmp_path / "toy")
    with pytest.raises(error, match=said):
        quantize(copy, copy / output if "." in output else tmp_path / output, precision, QuantizationSettings(None))


def test_damaged_bundle_is_refused(float32: Exported, tmp_path: Path) -> None:
    copy = changed(float32, tmp_path / "toy")
    (copy / "head.onnx").write_bytes((copy / "head.onnx").read_bytes()[:-1])
    with pytest.raises(BundleError, match=r"head\.onnx has changed"):
        quantize(copy, tmp_path / "int8", "int8", QuantizationSettings(None))


def test_own_model_whose_inputs_cannot_be_made_up_is_verified_on_its_golden_test(
    float32: Exported, tmp_path: Path
) -> None:
    spec = float32.manifest.model
    copy = changed(float32, tmp_path / "own", model=dataclasses.replace(spec, task="my-task", text=None))
    (copy / "tokenizer.json").unlink()
    write_manifest(copy, Manifest.from_json((copy / "manifest.json").read_text()))
    found = quantize(copy, tmp_path / "int8", "int8", QuantizationSettings(None))
    assert found.verification.inputs == 2 and found.manifest.model.task == "my-task"


def test_quantizing_needs_no_pytorch(float32: Exported, settings: QuantizationSettings, tmp_path: Path) -> None:
    assert settings.calibration is not None
    program = f"""
import sys
from pathlib import Path
for name in ("torch", "onnxscript", "transformers", "accelerate", "safetensors"):
    sys.modules[name] = None  # importing it fails as if it were not installed
from rsvl.export import Images, QuantizationSettings, quantize
calibration = Images("rrsis-d", Path({str(settings.calibration.root)!r}), "train", 3)
done = quantize({str(float32.path)!r}, {str(tmp_path / "int8")!r}, "int8", QuantizationSettings(calibration))
print(done.manifest.precision)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "int8\n"), done.stderr
