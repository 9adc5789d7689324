"""`rsvl.export.export`: what a bundle holds, what it refuses, and that it runs."""

from __future__ import annotations

import resource
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from rsvl.export import Exported, export, pipeline
from rsvl.export.samples import default_samples
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.check import check
from rsvl.runtime.errors import InputError, OutputError, UsageError, VerificationError
from rsvl.runtime.manifest import GraphSpec
from tests.support.toy_segmenter import SIZE, TOKENS, ToySegmenter


def test_bundle_passes_the_runtime_check(exported: Exported) -> None:
    for bundle in (exported.path, exported.packed):
        report = check(bundle, provider="cpu")
        assert report.passed
        assert report.precision == exported.manifest.precision


def test_manifest_says_what_was_measured_and_made_it(exported: Exported) -> None:
    manifest = Bundle(exported.path).manifest
    assert manifest.to_json() == exported.manifest.to_json()
    golden = {"golden/golden.npz", "golden/inputs.npz"}
    assert set(manifest.files) == {"image.onnx", "text.onnx", "head.onnx", "tokenizer.json", *golden}
    assert manifest.source == {"weights": "random"}
    assert manifest.metrics == {"mIoU": 0.5}
    assert manifest.kept_fp32 == {"norm": "to test it", "route": "angles"}
    assert {"rsvl", "torch", "onnx", "onnxruntime"} <= set(manifest.versions)
    assert (manifest.verification["inputs"], manifest.verification["reference"]) == (8, "PyTorch")
    iou = manifest.verification["measures"][0]
    assert iou["name"] == "mask IoU" and iou["value"] >= iou["limit"] >= 0.99
    assert 0 < manifest.verification["largest_difference"]["mask_logits"] < 0.01


def test_golden_outputs_are_pytorchs(exported: Exported) -> None:
    torch.manual_seed(0)
    toy = ToySegmenter().eval()
    with np.load(exported.path / "golden" / "golden.npz", allow_pickle=False) as golden, torch.no_grad():
        expected = toy(torch.from_numpy(golden["image"]), torch.from_numpy(golden["tokens"])).numpy()
        np.testing.assert_allclose(golden["mask_logits"], expected, atol=1e-5)
        inside = (golden["mask_logits"] > np.log(0.4 / 0.6)).mean(axis=(1, 2, 3))
    assert len(inside) == 2
    assert ((inside > 0) & (inside < 1)).all()


@pytest.fixture
def ready_graphs(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lets `export` copy graphs that were exported before: the slow step, when it is another that is tested."""

    def copy(module: object, spec: GraphSpec, path: Path) -> None:
        for file in exported.path.glob(f"{path.name}*"):
            shutil.copy(file, path.parent)

    monkeypatch.setattr(pipeline, "write_graph", copy)
    return exported.path


def test_export_tells_of_each_step_and_leaves_the_model_in_its_mode(ready_graphs, toy, samples, tmp_path: Path) -> None:
    steps: list[tuple[str, float]] = []
    toy.train()

    def progress(done: float, total: float, stage: str = "", detail: str = "") -> None:
        steps.append((stage, done / total))

    export(toy, tmp_path / "b", samples=samples, progress=progress)
    assert toy.training
    assert {f"exporting graph {name} in fp32" for name in ("image", "text", "head")} < {what for what, _ in steps}
    fractions = [done for _, done in steps]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0
    assert fractions[-1] < 1


def test_source_is_what_the_model_says_of_its_weights(ready_graphs, toy, samples, tmp_path: Path) -> None:
    toy.source = {"weights": "best.safetensors", "sha256": "12ab"}
    assert export(toy, tmp_path / "b", samples=samples).manifest.source == toy.source


def test_disagreement_writes_nothing_and_leaves_the_old_bundle(ready_graphs, toy, samples, tmp_path: Path) -> None:
    export(toy, tmp_path / "b", samples=samples)
    before = (tmp_path / "b" / "manifest.json").read_bytes()
    with torch.no_grad():
        toy.out.bias.add_(0.5)  # the graphs that are copied in do not have that
    with pytest.raises(VerificationError, match="disagree with PyTorch in fp32: mask IoU"):
        export(toy, tmp_path / "b", samples=samples)
    assert (tmp_path / "b" / "manifest.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_layers_that_overflow_stay_float32_with_the_reason(toy, samples, tmp_path: Path) -> None:
    with torch.no_grad():
        toy.embed.weight.mul_(1e6)  # the layer norm that takes the words' sum brings it back
    exported = export(toy, tmp_path / "b", "fp16", samples=samples)
    assert set(exported.manifest.kept_fp32) == {"embed", "norm"}
    assert "float16's largest, 65504" in exported.manifest.kept_fp32["embed"]


def test_weights_that_are_not_finite_are_refused(ready_graphs, toy, samples, tmp_path: Path) -> None:
    with torch.no_grad():
        toy.patch.weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(VerificationError, match="PyTorch in float32 has values that are not finite"):
        export(toy, tmp_path / "b", samples=samples)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {"image": s["image"]}, "this model takes image, tokens"),
        (lambda s: {name: array[:7] for name, array in s.items()}, "at least 8"),
        (lambda s: {**s, "tokens": s["tokens"][:, :5]}, r"sample tokens is int64 \[8, 5\]"),
        (lambda s: {**s, "image": s["image"].astype(np.float64)}, "sample image is float64"),
    ],
)
def test_samples_that_do_not_fit_are_refused(change, message: str, toy, samples, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        export(toy, tmp_path / "b", samples=change(samples))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("precision", "said"), [("bf16", "use fp32 or fp16"), ("fp8", "fp8 need settings")])
def test_precision_that_is_unknown_or_without_its_settings_is_refused(
    precision: str, said: str, toy, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=said):
        export(toy, tmp_path / "b", precision)


def test_disk_that_fills_during_export_leaves_nothing(toy, samples, tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**13, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"^cannot write [^\n]*: free space[^\n]*$"):
            export(toy, tmp_path / "b", samples=samples)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []


def test_default_samples_are_scenes_and_noise_the_same_every_time(toy) -> None:
    first, again = (default_samples(toy.spec, toy.tokenizer_json()) for _ in range(2))
    assert first["image"].shape == (8, 3, SIZE, SIZE)
    assert first["tokens"].shape == (8, TOKENS)
    assert len({array.tobytes() for array in first["image"]}) == 8
    assert len({array.tobytes() for array in first["tokens"]}) >= 7
    assert ((first["tokens"] == first["tokens"].max()).sum(axis=1) == 1).all()  # one end token each
    for name, array in first.items():
        np.testing.assert_array_equal(array, again[name])
