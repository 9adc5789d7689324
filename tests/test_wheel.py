"""The wheel has what users need, nothing of the laboratory, and runs where it is installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.test_house import PACKAGES, ROOT

LIGHT = ("numpy", "PIL", "tokenizers", "onnxruntime", "typer", "rich")
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from links to the rooms, so that neither old nor new build products of the checkout have a part in it."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in (
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "NOTICE",
        "rsvl",
        "export",
        "runtime",
        "benchmarks",
        "plugins",
    ):
        (source / name).symlink_to(ROOT / name)
    command = [*PIP, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", built, source]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (path,) = built.iterdir()
    return path


@pytest.fixture(scope="module")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`rsvl` of a fresh environment with the wheel and the packages of this one."""
    environment = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    site = next(environment.glob("lib*/python*/site-packages"))
    found = {str(Path(str(spec.origin)).parents[1]) for name in LIGHT if (spec := find_spec(name)) is not None}
    (site / "light.pth").write_text("\n".join(sorted(found)) + "\n")
    pip = [sys.executable, "-m", "pip", "--python", environment / "bin/python", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", "--ignore-installed", wheel], check=True)
    return environment / "bin/rsvl"


def test_wheel_has_the_listed_packages_and_nothing_of_the_laboratory(wheel: Path) -> None:
    names = [Path(name) for name in zipfile.ZipFile(wheel).namelist()]
    expected = {
        Path(*package.split(".")) / file.name for package, folder in PACKAGES.items() for file in folder.glob("*.py")
    }
    assert {name for name in names if name.suffix == ".py"} == expected
    assert not [name for name in names if "laboratory" in name.parts or name.match("benchmarks/results/*")]
    assert Path("rsvl/models/weights/cd2fsan-tiny.safetensors") in names


def test_installed_wheel_runs_from_elsewhere(program: Path, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def said(*arguments: str) -> str:
        done = subprocess.run([program, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    assert "export" in said("--help")
    import rsvl

    assert json.loads(said("doctor", "--json"))["rsvl"] == rsvl.__version__
