"""`rsvl engine` with good and wrong input."""

from __future__ import annotations

import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from rsvl.runtime.backends.cuda import cuda_device
from rsvl.runtime.backends.tensorrt import detect
from rsvl.runtime.backends.tensorrt.tensorrt_api import TensorRTApi
from rsvl.runtime.manifest import GraphSpec, Manifest, TensorSpec
from tests.support import fake_tensorrt
from tests.support.fake_gpu import FakeDevice
from tests.support.outcome import Rsvl
from tests.support.toy_bundle import toy_spec, write_manifest


@pytest.fixture
def own(bundle: Path, tmp_path: Path) -> Path:
    return shutil.copytree(bundle, tmp_path / "own.bundle")


def test_engines_are_built_listed_and_then_kept(rsvl: Rsvl, own: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed: pip install 'rsvl[tensorrt-rtx]'")
    first = rsvl("engine", own, "--target", "any", "--max-batch", 2, "--json").json
    assert [each["graph"] for each in first["engines"]] == ["image", "text", "head"]
    text = first["engines"][1]
    assert text["profile"] == {"tokens": [[1, 8], [1, 8], [2, 8]]} and (text["gpu"], text["reused"]) == ("any", False)
    assert Path(text["file"]).stat().st_size == text["bytes"]
    again = rsvl("engine", own, "--target", "any", "--max-batch", 2)
    assert again.code == 0 and again.out.count("was there") == 3 and "for any GPU that it knows" in again.out
    assert rsvl("check", own).code == 0  # engines are no part of what is hashed


def test_script_for_a_device_needs_no_tensorrt(rsvl: Rsvl, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detect, "installed_tensorrts", lambda: ())
    told = rsvl("engine", own, "--target", "jetson-orin", "--json").json
    assert [Path(file).name for file in told["files"]] == ["build-on-jetson-orin.sh", "build-on-jetson-orin.md"]
    assert all(Path(file).is_file() for file in told["files"]) and told["engines"] == []


ROTATED = GraphSpec(
    "head",
    (
        TensorSpec("x", ("batch", 4, 9, 8)),
        TensorSpec("taps", (3, 3, 3, 5, 4)),
        TensorSpec("theta", ("batch", 3)),
        TensorSpec("gate", ("batch", 3)),
    ),
    (TensorSpec("y", ("batch", 5, 9, 8)),),
    "head.onnx",
)


@pytest.mark.parametrize(
    ("version", "code", "says"), [("11.4.0.106", 0, ""), ("10.3.0", 3, "install TensorRT 10.7 or newer")]
)
def test_plugin_runs_its_nodes_where_tensorrt_lets_it(
    rsvl: Rsvl, own: Path, monkeypatch: pytest.MonkeyPatch, version: str, code: int, says: str
) -> None:
    api = TensorRTApi(fake_tensorrt.install(monkeypatch, version))
    monkeypatch.setattr(detect, "installed_tensorrts", lambda: (api,))
    monkeypatch.setattr(cuda_device, "find_device", lambda: (FakeDevice(), ""))
    fake_tensorrt.write_rotated_conv(own / ROTATED.file)
    write_manifest(own, Manifest(replace(toy_spec(), task="own", images=(), text=None, graphs=(ROTATED,)), "fp32"))
    outcome = rsvl("engine", own, "--plugin", "RotatedConv2d", "--json")
    assert outcome.code == code
    if code:
        assert says in outcome.error and not list((own / "engines").glob("*.engine"))
        return
    (engine,) = outcome.json["engines"]
    assert engine["layers"] == 2  # the plugin and the Relu; the body has two of its own
    (note,) = (own / "engines").glob("*.json")
    assert json.loads(note.read_text())["key"]["plugins"] == ["RotatedConv2d"]


WRONG = {
    "unknown target": (("--target", "jetson"), 2, "jetson-orin"),
    "batch to optimize for too large": (("--max-batch", "2", "--opt-batch", "4"), 2, "--opt-batch"),
    "no batch": (("--max-batch", "0"), 2, "--max-batch"),
    "range of nothing": (("--range", "height=1:2:3"), 2, "height"),
    "range that is none": (("--range", "height"), 2, "MIN:OPT:MAX"),
    "unknown backend": (("--backend", "trt"), 2, "tensorrt_rtx"),
    "no TensorRT": ((), 3, "rsvl[tensorrt]"),
}


@pytest.mark.parametrize(("options", "code", "says"), WRONG.values(), ids=WRONG.keys())
def test_wrong_use_is_one_line(
    rsvl: Rsvl, bundle: Path, monkeypatch, options: tuple[str, ...], code: int, says: str
) -> None:
    monkeypatch.setattr(detect, "installed_tensorrts", lambda: ())
    outcome = rsvl("engine", bundle, *options)
    assert outcome.code == code and says in outcome.error


@pytest.mark.parametrize("options", [(), ("--target", "jetson-orin")])
def test_packed_bundle_says_to_unpack_it(rsvl: Rsvl, bundle: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed: pip install 'rsvl[tensorrt-rtx]'")
    packed = tmp_path / "toy.rsvl"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in bundle.rglob("*"):
            archive.write(path, path.relative_to(bundle))
    outcome = rsvl("engine", packed, *options)
    assert outcome.code == 2 and "unpack it first" in outcome.error


def test_forced_engines_without_a_gpu_are_a_missing_component(rsvl: Rsvl, bundle: Path, monkeypatch) -> None:
    from rsvl.runtime.backends.tensorrt import select

    monkeypatch.setattr(select, "find_device", lambda: (None, "no NVIDIA GPU is visible"))
    outcome = rsvl("check", bundle, "--provider", "engines")
    assert outcome.code == 3 and "no NVIDIA GPU is visible" in outcome.error
