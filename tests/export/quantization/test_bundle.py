"""A bundle in int8 from calibration to manifest, on a toy with random weights, and what is refused."""

from __future__ import annotations

import dataclasses
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from rsvl.data.synth import write
from rsvl.export import Exported, Images, QuantizationSettings, export, graph_files, pipeline
from rsvl.export.bundle import write_manifest
from rsvl.export.quantization.in_place import quantize_in_place
from rsvl.metrics.drop import Drop
from rsvl.runtime.backends.tensorrt import BuildConfig, build_engines, find_tensorrt, write_device_script
from rsvl.runtime.backends.tensorrt.profiles import batch_range
from rsvl.runtime.backends.tensorrt.targets import find_target
from rsvl.runtime.backends.tensorrt.tensorrt_api import RTX
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.cache import CACHE
from rsvl.runtime.check import check
from rsvl.runtime.errors import BundleError, DatasetError, EngineError, UsageError
from rsvl.runtime.manifest import Manifest
from rsvl.runtime.progress import silent
from rsvl.runtime.quantization import Quantization
from tests.support.tensorrt_graphs import check_that_tensorrt_builds
from tests.support.toy_segmenter import ToySegmenter

ANY = Drop(1.0, relative=False)
of_float32 = pytest.mark.parametrize("exported", ["fp32"], indirect=True)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("synth") / "root", 6, seed=1, size=64, val=2, test=1).root


@pytest.fixture(scope="module")
def settings(root: Path) -> QuantizationSettings:
    return QuantizationSettings(Images("rrsis-d", root, "train", 3), Images("rrsis-d", root, "val", 2), "minmax", ANY)


def quantized_toy(precision: str, settings: QuantizationSettings, float32: Exported, folder: Path) -> Exported:
    """The toy in 8 bits as a whole; its graphs in float32, the slow step, are those that were exported before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE, str(folder / "cache"))
        patch.setattr(
            pipeline, "write_graph", lambda module, spec, path, **_: shutil.copy(float32.path / path.name, path)
        )
        torch.manual_seed(0)
        model = ToySegmenter()
        model.keep_fp32 = {"blocks.1": "to test it"}
        return export(model, folder / "toy", precision, quantization=settings)


@pytest.fixture(scope="module")
def bundle(settings: QuantizationSettings, exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The toy in int8."""
    return quantized_toy("int8", settings, exported, tmp_path_factory.mktemp("int8"))


@pytest.fixture(scope="module")
def in_fp8(settings: QuantizationSettings, exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The toy in fp8."""
    return quantized_toy("fp8", settings, exported, tmp_path_factory.mktemp("fp8"))


@pytest.fixture
def float32(exported: Exported, tmp_path: Path) -> Path:
    """A copy of the toy's bundle in float32."""
    return shutil.copytree(exported.path, tmp_path / "copy")


@of_float32
def test_bundle_runs_passes_its_check_and_tells_what_was_done(bundle: Exported, settings: QuantizationSettings) -> None:
    report = check(bundle.path, provider="cpu")
    assert report.passed and report.precision == "int8"
    manifest = Bundle(bundle.path).manifest
    found = manifest.quantization
    assert found == bundle.manifest.quantization
    assert found is not None and found.activations and found.calibrator == "minmax" and found.figure == "mIoU"
    assert (found.calibration.images, found.measured_on.split) == (3, "val")  # type: ignore[union-attr]
    assert found.baseline is not None and found.value is not None and found.share == 1.0
    assert manifest.kept_fp32 == {"blocks.1": "to test it"}


@of_float32
def test_graphs_have_int8_around_their_layers_and_keep_their_custom_node_and_its_body(bundle: Exported) -> None:
    for spec in bundle.manifest.model.graphs:
        model = onnx.load(bundle.path / spec.file)
        onnx.checker.check_model(model, full_check=True)
        ends = [*model.graph.input, *model.graph.output]
        assert {end.type.tensor_type.elem_type for end in ends} <= {onnx.TensorProto.FLOAT, onnx.TensorProto.INT64}
        stored = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
        if spec.name == "image":
            assert [name for name in stored if name.startswith("inner.model.blocks.0.weight")] == [
                f"inner.model.blocks.0.weight_{part}" for part in ("int8", "scale", "zero")
            ]
            assert stored["inner.model.blocks.1.weight"] == onnx.TensorProto.FLOAT
        if spec.name == "head":
            (node,) = [node for node in model.graph.node if node.domain == "rsvl"]
            assert node.op_type == "RotatedConv2d" and node.input[1].endswith("_dequantized")
            assert [function.name for function in model.functions] == ["RotatedConv2d"]


@of_float32
def test_tensorrt_builds_it(bundle: Exported) -> None:
    check_that_tensorrt_builds(bundle.path, bundle.manifest.model.graphs)


@of_float32
def test_bundle_in_fp8_runs_passes_its_check_and_tells_what_was_done(in_fp8: Exported) -> None:
    report = check(in_fp8.path, provider="cpu")
    assert report.passed and report.precision == "fp8"
    found = in_fp8.manifest.quantization
    assert found is not None and found.activations and found.share == 1.0 and found.value is not None
    stored = Counter[int]()
    for spec in in_fp8.manifest.model.graphs:
        model = onnx.load(in_fp8.path / spec.file)
        onnx.checker.check_model(model, full_check=True)
        stored.update(tensor.data_type for tensor in model.graph.initializer)
    assert stored[onnx.TensorProto.FLOAT8E4M3FN] > 0 and stored[onnx.TensorProto.INT8] == 0


@of_float32
def test_tensorrt_builds_fp8_for_gpus_that_have_it(in_fp8: Exported, tmp_path: Path) -> None:
    check_that_tensorrt_builds(in_fp8.path, in_fp8.manifest.model.graphs)
    copy = Bundle(shutil.copytree(in_fp8.path, tmp_path / "copy"))
    refused = pytest.raises(EngineError, match="has no fp8, which came with sm_89")
    with refused:
        build_engines(copy, BuildConfig(find_tensorrt(RTX), restricted_to="sm_86"))
    with refused:
        write_device_script(copy, find_target("jetson-orin"), {"batch": batch_range()})
    assert not (copy.root / "engines").exists()
    assert write_device_script(copy, find_target("jetson-thor"), {"batch": batch_range()})


@of_float32
def test_settings_that_fp8_has_no_use_for_are_refused(
    settings: QuantizationSettings, exported: Exported, tmp_path: Path
) -> None:
    for changed, said in (({"calibrator": "entropy"}, "takes the calibrator minmax"), ({"calibration": None}, "calib")):
        with pytest.raises(UsageError, match=said):
            quantized_toy("fp8", dataclasses.replace(settings, **changed), exported, tmp_path)
    assert list(tmp_path.iterdir()) == []


@of_float32
def test_parts_are_measured_alone_once_and_some_are_chosen(
    float32: Path, settings: QuantizationSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    none_may_be_lost = dataclasses.replace(settings, max_drop=Drop(0.0), sensitivity=True)
    stages: list[str] = []

    def progress(done: float, total: float, stage: str = "", detail: str = "") -> None:
        stages.append(stage)

    copies = [shutil.copytree(float32, tmp_path / name) for name in ("first", "second")]
    first = quantize_in_place(copies[0], none_may_be_lost, {}, progress)
    assert all(group.drop is not None for group in first.groups) and any("alone" in stage for stage in stages)
    assert first.value is not None and first.baseline is not None and first.value >= first.baseline
    assert set(first.kept("int8")) == {group.name for group in first.groups if not group.quantized}
    stages.clear()
    more_may_be_lost = dataclasses.replace(none_may_be_lost, max_drop=Drop(0.001))
    second = quantize_in_place(copies[1], more_may_be_lost, {}, progress)
    assert [group.drop for group in second.groups] == [group.drop for group in first.groups]
    assert second.share >= first.share
    assert any("float32" in stage for stage in stages) and not any("alone" in stage for stage in stages)


@of_float32
def test_selection_that_the_verification_refuses_is_not_chosen(
    float32: Path, settings: QuantizationSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))

    def head_is_float(folder: Path) -> bool:
        return all(node.op_type != "DequantizeLinear" for node in onnx.load(folder / "head.onnx").graph.node)

    found = quantize_in_place(
        float32, dataclasses.replace(settings, max_drop=Drop(1.0)), {}, silent, agrees=head_is_float
    )
    assert head_is_float(float32) and {group.quantized for group in found.groups} == {True, False}


@of_float32
def test_agreement_with_float32_is_a_metric_too(
    float32: Path, settings: QuantizationSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    on_the_same = dataclasses.replace(settings, agreement=True, labelled=settings.calibration)
    found = quantize_in_place(float32, on_the_same, {}, silent)
    assert (found.figure, found.baseline) == ("agreement", 1.0)
    assert found.value is not None and 0.5 < found.value < 1


@of_float32
def test_weights_alone_need_no_data_and_are_small(float32: Path) -> None:
    before = (float32 / "image.onnx").stat().st_size
    found = quantize_in_place(float32, QuantizationSettings(None), {}, silent)
    assert not found.activations and found.calibration is None and found.value is None and found.share == 1.0
    assert (float32 / "image.onnx").stat().st_size < 0.75 * before
    kinds = {node.op_type for node in onnx.load(float32 / "image.onnx").graph.node}
    assert "DequantizeLinear" in kinds and "QuantizeLinear" not in kinds


@of_float32
def test_many_bytes_of_weights_go_to_a_file_beside_their_graph(float32: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = float32.parent / "whole"
    shutil.copytree(float32, whole)
    quantize_in_place(whole, QuantizationSettings(None), {}, silent)
    monkeypatch.setattr(graph_files, "BESIDE_BYTES", 100)
    quantize_in_place(float32, QuantizationSettings(None), {}, silent)
    assert (float32 / "image.onnx.data").stat().st_size > 0.5 * (whole / "image.onnx").stat().st_size
    image = np.random.default_rng(0).normal(size=(1, 3, 64, 64)).astype(np.float32)
    runs = [
        onnxruntime.InferenceSession(folder / "image.onnx").run(None, {"image": image}) for folder in (whole, float32)
    ]
    for expected, found in zip(*runs, strict=True):
        np.testing.assert_array_equal(found, expected)


@of_float32
def test_weights_beside_a_graph_are_replaced_with_it(
    float32: Path, settings: QuantizationSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    whole = shutil.copytree(float32, tmp_path / "whole")
    manifest = Bundle(float32).manifest
    with monkeypatch.context() as patch:
        patch.setattr(graph_files, "BESIDE_BYTES", 100)
        for spec in manifest.model.graphs:
            graph_files.replace_graph(onnx.load(float32 / spec.file), float32, spec)
    write_manifest(float32, manifest)
    assert (float32 / "image.onnx.data").is_file()
    for folder in (whole, float32):
        quantize_in_place(folder, settings, {}, silent)
    assert not list(float32.glob("*.data"))
    for spec in manifest.model.graphs:
        pair = [onnx.load(folder / spec.file) for folder in (whole, float32)]
        assert pair[0].graph.node == pair[1].graph.node
        weights = [{t.name: numpy_helper.to_array(t) for t in model.graph.initializer} for model in pair]
        assert all((weights[1][name] == array).all() for name, array in weights[0].items())


@pytest.mark.parametrize(
    ("data", "split", "error", "said"),
    [
        ("rrsis-d", "nowhere", DatasetError, "nowhere"),
        ("rsvqa-lr", "train", UsageError, "questions"),
        ("no-such", "train", UsageError, "unknown dataset"),
    ],
)
def test_data_that_do_not_fit_are_refused_before_anything_is_exported(
    data: str, split: str, error: type[Exception], said: str, root: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=said):
        export(
            ToySegmenter(), tmp_path / "toy", "int8", quantization=QuantizationSettings(Images(data, root, split, 3))
        )
    assert list(tmp_path.iterdir()) == []


@of_float32
@pytest.mark.parametrize(
    ("field", "value"),
    [("activations", 1), ("smoothed", -1), ("baseline", 7.0), ("groups", None), ("calibration", {"data": "x"})],
)
def test_manifest_with_a_damaged_quantization_is_refused(bundle: Exported, field: str, value: object) -> None:
    found = bundle.manifest.quantization
    assert isinstance(found, Quantization)
    damaged = dataclasses.replace(bundle.manifest, quantization=dataclasses.replace(found, **{field: value}))
    with pytest.raises((BundleError, TypeError), match="manifest"):
        Manifest.from_json(damaged.to_json())


@of_float32
def test_manifest_of_the_schema_before_int8_is_read(bundle: Exported) -> None:
    old = dataclasses.replace(bundle.manifest, schema=1, quantization=None).to_json()
    assert '"quantization": null' in old
    assert Manifest.from_json(old.replace('  "quantization": null,\n', "")).quantization is None
