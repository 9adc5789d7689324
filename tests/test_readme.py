"""The README's programs run as they stand."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch

import rsvl
from tests.support.toy_segmenter import ToySegmenter
from tests.test_house import ROOT

PROGRAMS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


def test_readme_programs_run(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (workspace / "docs").mkdir()
    shutil.copy(ROOT / "docs/scene.jpg", workspace / "docs")
    torch.manual_seed(0)
    monkeypatch.setattr(rsvl, "load", lambda name: ToySegmenter().eval(), raising=False)  # the real one takes longer
    assert len(PROGRAMS) == 2
    for program in PROGRAMS:
        exec(compile(program, "README.md", "exec"), {})
    assert (workspace / "building.png").is_file() and "mask IoU" in capsys.readouterr().out
