"""The README's programs run as they stand."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from torch import Tensor

import rsvl
from rsvl.modules.bases.exportable import ExportableModel
from rsvl.runtime.manifest import GraphSpec, ModelSpec, TensorSpec
from tests.test_house import ROOT

PROGRAMS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


class Doubler(ExportableModel):
    """Doubles a pair of numbers; exported in a second, where the README's model takes many."""

    graphs = (GraphSpec("double", (TensorSpec("x", ("batch", 2)),), (TensorSpec("y", ("batch", 2)),)),)
    spec = ModelSpec("doubler", "doubling", "none", (), None, graphs)

    def double(self, x: Tensor) -> tuple[Tensor]:
        return (2 * x,)


def test_readme_programs_run(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (workspace / "docs").mkdir()
    shutil.copy(ROOT / "docs/scene.jpg", workspace / "docs")
    monkeypatch.setattr(rsvl, "load", lambda name: Doubler(), raising=False)
    assert len(PROGRAMS) == 2
    for program in PROGRAMS:
        exec(compile(program, "README.md", "exec"), {})
    assert (workspace / "building.png").is_file() and "relative difference of y" in capsys.readouterr().out
