"""`rsvl engine` with good and wrong input."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest

from rsvl.runtime.backends.tensorrt import detect
from tests.support.outcome import Rsvl


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
    monkeypatch.setattr(detect, "installed_libraries", lambda: ())
    told = rsvl("engine", own, "--target", "jetson-orin", "--json").json
    assert [Path(file).name for file in told["files"]] == ["build-on-jetson-orin.sh", "build-on-jetson-orin.md"]
    assert all(Path(file).is_file() for file in told["files"]) and told["engines"] == []


WRONG = {
    "unknown target": (("--target", "jetson"), 2, "jetson-orin"),
    "batch to optimize for too large": (("--max-batch", "2", "--opt-batch", "4"), 2, "--opt-batch"),
    "no batch": (("--max-batch", "0"), 2, "--max-batch"),
    "range of nothing": (("--range", "height=1:2:3"), 2, "height"),
    "range that is none": (("--range", "height"), 2, "LEAST:BEST:LARGEST"),
    "unknown backend": (("--backend", "trt"), 2, "tensorrt_rtx"),
    "no TensorRT": ((), 3, "rsvl[tensorrt]"),
}


@pytest.mark.parametrize(("options", "code", "says"), WRONG.values(), ids=WRONG.keys())
def test_wrong_use_is_one_line(
    rsvl: Rsvl, bundle: Path, monkeypatch, options: tuple[str, ...], code: int, says: str
) -> None:
    monkeypatch.setattr(detect, "installed_libraries", lambda: ())
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
