"""The folder that examples run in."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def whole_workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that examples name; read only."""
    from tests.support.workspace import write_workspace  # it needs more than the light runtime's tests have

    return write_workspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture
def workspace(whole_workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The test's own copy of `whole_workspace`, as the current folder."""
    folder = tmp_path / "workspace"
    shutil.copytree(whole_workspace, folder)
    monkeypatch.chdir(folder)
    return folder
