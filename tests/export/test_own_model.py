"""The documented model of one's own goes from a file to a bundle that runs; what cannot be imported is one line."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

import rsvl
from rsvl import registry
from rsvl.cli import main
from rsvl.runtime import RawRunner, load
from rsvl.runtime.errors import UsageError
from rsvl.runtime.images.preprocess import preprocess

EXAMPLE = Path(__file__).parents[2] / "examples" / "scene_moe.py"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with the documented module in it."""
    shutil.copy(EXAMPLE, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in ("scene_moe", "other"):
        sys.modules.pop(name, None)


def test_documented_model_is_exported_checked_and_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--model", "scene_moe:build", "--fp16"]) == 0
    assert "warning" not in capsys.readouterr().err
    bundle = folder / "scene-moe-fp16.bundle"
    assert main(["check", str(bundle)]) == 0
    runner = load(bundle, threads=1)
    assert type(runner) is RawRunner and runner.manifest.source == {"weights": "as scene_moe:build makes them"}
    nodes = [node for node in onnx.load(bundle / "classify.onnx").graph.node if node.domain == "rsvl"]
    assert [node.op_type for node in nodes] == ["LoRAMoE"]

    rng = np.random.default_rng(0)
    images = [preprocess(rng.integers(0, 256, (80, 90, 3), np.uint8), runner.spec.image) for _ in range(3)]
    batch = np.stack(images)
    with torch.no_grad():
        expected = rsvl.load("scene_moe:build")(torch.from_numpy(batch)).numpy()
    np.testing.assert_allclose(runner.run(image=batch)["class_logits"], expected, atol=0.02)

    np.savez(folder / "input.npz", image=batch)
    assert main(["run", str(bundle), "input.npz"]) == 0
    np.testing.assert_allclose(np.load(folder / "input-outputs.npz")["class_logits"], expected, atol=0.02)


BROKEN = {
    "no module": ("nowhere:build", "", "no module 'nowhere'"),
    "no attribute": ("other:biuld", "def build(): ...", "other has no 'biuld': did you mean build"),
    "not callable": ("other:build", "build = 3", "other:build is a int"),
    "wrong type": ("other:build", "def build(): return 3", "other:build gave a int, not an ExportableModel"),
    "no declaration": (
        "other:build",
        "from rsvl.modules.bases.exportable import ExportableModel\nbuild = ExportableModel",
        "declares nothing",
    ),
    "needs another": ("other:build", "import nothing_of_that_name", "other needs nothing_of_that_name"),
    "syntax": ("other:build", "def build(:", "other cannot be imported (SyntaxError"),
    "raises": ("other:build", "def build(): raise ValueError('no\\nluck')", "other:build failed (ValueError: no luck)"),
    "no name": (":build", "", "':build' is not of the form"),
}


@pytest.mark.parametrize(("name", "code", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_what_cannot_be_built_is_one_line(folder: Path, name: str, code: str, message: str) -> None:
    if code:
        (folder / "other.py").write_text(code)
    with pytest.raises(UsageError) as caught:
        registry.create(name)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_documented_excerpt_is_that_of_the_example() -> None:
    document = (EXAMPLE.parents[1] / "docs" / "your-own-model.md").read_text(encoding="utf-8")
    excerpt = re.findall(r"```python\n(.*?)```", document, re.DOTALL)[0]
    parts = [part.strip("\n") for part in re.split(r"\n *\.\.\.\n", excerpt)]
    assert len(parts) == 3 and all(part in EXAMPLE.read_text(encoding="utf-8") for part in parts)
