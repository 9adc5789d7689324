"""The examples of docstrings run as they stand, in a folder that holds the files they name."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

from rsvl.runtime.backends.tensorrt import installed_tensorrts
from tests.test_house import PACKAGES

MODULES = sorted(
    package if file.stem == "__init__" else f"{package}.{file.stem}"
    for package, folder in PACKAGES.items()
    for file in folder.glob("*.py")
    if ">>> " in file.read_text()
)
NEEDS_TENSORRT = "rsvl.runtime.backends.tensorrt.build"


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_show(workspace: Path, name: str) -> None:
    if name == NEEDS_TENSORRT and not installed_tensorrts():
        pytest.skip("no TensorRT is installed")
    results = doctest.testmod(importlib.import_module(name))
    assert results.attempted and not results.failed


@pytest.mark.parametrize("name", ["rsvl", "rsvl.runtime", "rsvl.export.pipeline", "rsvl.data.catalog", "rsvl.registry"])
def test_public_api_has_examples(name: str) -> None:
    assert name in MODULES
