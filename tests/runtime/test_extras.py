"""The table of optional packages is what pyproject.toml installs, and the only place that says so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rsvl.runtime.extras import COMPONENTS, Component, find_component, install, remedy

tomllib = pytest.importorskip("tomllib", reason="it came with Python 3.11")

ROOT = Path(__file__).parents[2]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
MAKERS = {"dev", "docs"}


def installed_by(extra: str) -> set[str]:
    """The distributions of an extra, those of the extras in it included."""
    found = set()
    for requirement in EXTRAS[extra]:
        name, others = re.fullmatch(r"([\w-]+)(?:\[([^]]+)\])?.*", requirement).groups()
        found |= set().union(*map(installed_by, others.split(","))) if name == "rsvl" else {name}
    return found


@pytest.mark.parametrize("component", [c for c in COMPONENTS if c.extra], ids=lambda component: component.module)
def test_extra_installs_the_component_that_the_table_says(component: Component) -> None:
    assert component.name in installed_by(component.extra)


@pytest.mark.parametrize("extra", sorted(set(EXTRAS) - MAKERS))
def test_every_package_of_an_extra_is_in_the_table(extra: str) -> None:
    assert installed_by(extra) <= {component.name for component in COMPONENTS}


@pytest.mark.parametrize(
    ("module", "command"),
    [
        ("onnx.helper", "pip install 'rsvl[export]'"),
        ("pycocotools", "pip install 'rsvl[eval]'"),
        ("cuda.bindings.runtime", "pip install 'rsvl[tensorrt]'"),
        ("cuda.bindings.nvrtc", "pip install 'rsvl[plugins]'"),
        ("onnxruntime", "pip install onnxruntime"),
    ],
)
def test_remedy_of_a_module_is_that_of_its_nearest_component(module: str, command: str) -> None:
    assert remedy(module) == command


@pytest.mark.parametrize(
    ("extra", "python", "command"),
    [
        ("train", (3, 10), "use Python 3.11 or later, and there pip install 'rsvl[train]'"),
        ("export", (3, 10), "use Python 3.11 or later, and there pip install 'rsvl[export]'"),
        ("export", (3, 11), "pip install 'rsvl[export]'"),
        ("geo", (3, 10), "pip install 'rsvl[geo]'"),
    ],
)
def test_extra_that_a_python_is_too_old_for_names_the_one_it_takes(
    extra: str, python: tuple[int, int], command: str
) -> None:
    assert install(extra, python) == command


@pytest.mark.parametrize(("extra", "first"), [("train", (3, 11)), ("geo", (3, 10))])
def test_markers_keep_an_extra_s_packages_from_older_pythons(extra: str, first: tuple[int, int]) -> None:
    marked = any("python_version >= '3.11'" in requirement for requirement in EXTRAS[extra])
    assert marked == (first > (3, 10)) == (install(extra, (3, 10)) != install(extra, first))


@pytest.mark.parametrize("module", ["numpy", "onnxsomething", "torchvision", ""])
def test_module_that_is_not_in_the_table_is_none_of_its_components(module: str) -> None:
    assert find_component(module) is None
    with pytest.raises(KeyError):
        remedy(module)


def test_no_other_source_writes_the_command_out() -> None:
    start = install("x")[: -len("x]'")]
    rooms = [ROOT / room for room in ("rsvl", "export", "runtime", "plugins", "benchmarks")]
    files = [file for room in rooms for file in room.rglob("*.py") if start in file.read_text()]
    assert files == [ROOT / "runtime/extras.py"]
