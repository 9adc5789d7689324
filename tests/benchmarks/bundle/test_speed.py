"""Measuring a bundle: what is measured of what, and what the report says. No test depends on a time."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rsvl.benchmarks.bundle import speed
from rsvl.benchmarks.bundle.baselines import Options, prepared
from rsvl.benchmarks.bundle.ceilings import Ceilings, Product
from rsvl.benchmarks.bundle.footprint import footprint
from rsvl.benchmarks.bundle.markdown import markdown
from rsvl.benchmarks.bundle.plot import draw
from rsvl.benchmarks.bundle.report import FIRST, FURTHER, IMAGE, MANY, BundleSpeed
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.errors import BundleError, InputError, RsvlError, UsageError
from rsvl.runtime.manifest import CLASSIFICATION, Manifest
from rsvl.runtime.tuning.choice import Choice, GraphChoice, bundle_hash, circumstances
from rsvl.runtime.tuning.store import remember
from tests.support.toy_bundle import write_manifest
from tests.support.toy_tasks import SCALE, SIDE, write_task_bundle


@pytest.fixture(scope="module")
def quick() -> Iterator[None]:
    """Ceilings without measuring them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            speed,
            "cpu_ceilings",
            lambda threads: Ceilings({"fp32": Product(100.0, "numpy")}, 10.0, f"{threads} threads"),
        )
        yield


@pytest.fixture(scope="module")
def found(quick: None, whole_bundle: Path) -> BundleSpeed:
    """The toy bundle's report."""
    return speed.measure(whole_bundle, "cpu", threads=1, rounds=2, batches=(4, 1))


def test_every_part_of_a_bundle_is_measured(found: BundleSpeed, whole_bundle: Path) -> None:
    assert (found.model, found.precision, found.provider, found.threads) == ("toy", "fp32", "cpu", 1)
    (runner,) = found.runners
    assert (runner.name, runner.agreement, found.agreement_is) == ("rsvl bundle, fp32", 1.0, "mask IoU")
    assert list(found.stages) == ["pre", "image", "text", "head", "post"]
    assert list(found.questions) == [FIRST, FURTHER, MANY]
    assert found.further == found.questions[FURTHER].p50 / found.questions[FIRST].p50
    assert list(found.throughput) == [1, 4] and min(found.throughput.values()) > 0
    size = sum(path.stat().st_size for path in whole_bundle.glob("*.onnx"))
    assert found.footprint.weights_mb == size / 1e6
    assert found.footprint.peak_mb is None or found.footprint.peak_mb > (found.footprint.imported_mb or 0)
    assert found.shares is not None and (found.shares.matrix, found.shares.computed) == (None, 0)
    assert found.shares.memory == pytest.approx(size / (runner.ms.p50 / 1e3) / 10e9)
    assert any("operations cannot be counted" in remark for remark in found.remarks)
    assert found.machine["rsvl"] and found.machine["cpu"] and found.gpu is None


def test_model_without_text_is_shown_images_alone(quick: None, tmp_path: Path) -> None:
    folder = write_task_bundle(tmp_path / "classifier.bundle", CLASSIFICATION)
    (folder / "golden").mkdir()
    logits = np.full((2, 3), SCALE, np.float32)
    np.savez(folder / "golden" / "golden.npz", image=np.ones((2, 3, SIDE, SIDE), np.float32), logits=logits)
    write_manifest(folder, Manifest.from_json((folder / "manifest.json").read_text()))
    report = speed.measure(folder, "cpu", threads=1, rounds=1, batches=(2,))
    assert list(report.questions) == [IMAGE] and list(report.stages) == ["pre", "image", "post"]
    assert report.further is None and f"| {IMAGE} |" in markdown(report)
    draw(report, tmp_path / "plot.svg")


def test_report_is_json_markdown_and_a_plot(found: BundleSpeed, tmp_path: Path) -> None:
    assert json.loads(json.dumps(found.to_dict()))["runners"][0]["name"] == "rsvl bundle, fp32"
    text = markdown(found)
    assert text.startswith("# toy, fp32, on ") and "cpu, 1 thread." in text and "Not measured: " in text
    for heading in ("Latency", "Stages", "Calls", "Throughput", "Memory", "The machine"):
        assert f"\n## {heading}" in text
    draw(found, tmp_path / "plot.png")
    assert Image.open(tmp_path / "plot.png").size[1] > 1000


def test_a_bundle_without_golden_inputs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RsvlError, match="golden"):
        speed.measure(write_task_bundle(tmp_path / "plain.bundle", "doubling"), "cpu", 1, 1)


def test_a_batch_that_fails_ends_the_batches_with_a_remark(whole_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Runner:
        def run(self, x: np.ndarray) -> dict[str, np.ndarray]:
            if len(x) > 2:
                raise RsvlError("out of memory: take fewer")
            return {}

    work = speed._Work(SimpleNamespace(), Runner(), {"x": np.zeros((2, 1))}, {}, 1, 1)  # type: ignore[arg-type]
    assert list(work.throughput([8, 1, 4, 2])) == [1, 2]
    assert work.remarks == ["batch 4: out of memory: take fewer"]


@pytest.mark.parametrize("wrong", [{"rounds": 0}, {"batches": (0,)}])
def test_numbers_below_one_are_refused(wrong: dict[str, Any], whole_bundle: Path) -> None:
    with pytest.raises(UsageError, match="1 or more"):
        speed.measure(whole_bundle, **wrong)


def test_baselines_are_timed_beside_the_bundle(quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rsvl.export import export
    from tests.support import chain

    monkeypatch.setitem(sys.modules, "openvino", None)
    path = export(chain.build().eval(), tmp_path / "chain.bundle").path
    found = speed.measure(path, "cpu", 1, 1, (1,), Options("tests.support.chain:build", compiled=False))
    names = [runner.name for runner in found.runners]
    assert names == ["rsvl bundle, fp32", "PyTorch eager", "plain ONNX export"]
    assert [runner.agreement is None for runner in found.runners] == [False, True, True]  # other weights: made anew
    assert any("pip install 'rsvl[openvino]'" in remark for remark in found.remarks)
    assert found.stages == {} and found.further is None and found.shares is not None


def test_baselines_of_another_model_are_refused(whole_bundle: Path) -> None:
    manifest = Bundle(whole_bundle).manifest
    with (
        pytest.raises(InputError, match="the bundle is of toy, not chain: name the --model"),
        prepared(manifest, {}, 1, False, Options("tests.support.chain:build"), print),
    ):
        pass


def test_a_bundle_that_is_none_fails_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(RsvlError, match=r"nowhere\.bundle") as raised:
        footprint(tmp_path / "nowhere.bundle")
    assert "\n" not in str(raised.value)
    with pytest.raises(BundleError):
        speed.measure(tmp_path / "nowhere.bundle", "cpu", 1, 1)


def test_what_was_tuned_is_what_is_measured(quick: None, whole_bundle: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole_bundle, tmp_path / "tuned.bundle"))
    bundle = Bundle(folder)
    graphs = dict.fromkeys(("image", "text", "head"), GraphChoice("cpu", 1))
    remember(bundle, Choice(bundle_hash(bundle), circumstances(bundle), "2026-01-01T00:00:00", "cpu", graphs, 0.9))
    assert speed.measure(folder, rounds=1, batches=(1,)).provider == "tuned"
    assert speed.measure(folder, threads=1, rounds=1, batches=(1,)).provider == "cpu"


def test_measuring_a_bundle_needs_no_pytorch() -> None:
    modules = [f"rsvl.benchmarks.bundle.{name}" for name in ("speed", "markdown", "plot")]
    program = (
        f"import sys, rsvl.cli.bench, {', '.join(modules)}; print({{'torch', 'onnx', 'matplotlib'}} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
