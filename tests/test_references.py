"""What docstrings, comments and documents name by its full name, by `Name` or by file is there."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import griffe
import pytest

from tests.test_house import DOCUMENTS, PACKAGES, ROOT, SETUPTOOLS

ROOMS = sorted({ROOT / folder for folder in SETUPTOOLS["package-dir"].values()})
SOURCES = sorted(file for room in ROOMS for file in room.rglob("*.py"))
EXAMPLES = sorted(ROOT.glob("examples/*.*"))
FILES = [*SOURCES, *DOCUMENTS, *EXAMPLES, ROOT / "Makefile", ROOT / "pyproject.toml", ROOT / "mkdocs.yml"]
FULL_NAME = re.compile(r"(?<![\w./:-])rsvl((?:\.[A-Za-z]\w*)+)")
IN_BACKTICKS = re.compile(
    r"(?<!`)`(?![^`]*\.(?:py|json|md|txt|gz|pkl|safetensors)`)([A-Za-z_][\w.]*)(?:\([^`]*\))?`(?!`)"
)
LISTED = re.compile(r"^- ((?:`\w+`(?:, )?)+): ", re.MULTILINE)
FILE_NAME = re.compile(r"(?<![\w./*{}<>$-])([\w-][\w./-]*\.(?:py|cu|cuh))\b")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> griffe.Module:
    """The package as its sources say, nothing imported."""
    root = tmp_path_factory.mktemp("rooms")
    for name, folder in PACKAGES.items():
        if folder.parent == ROOT:
            home = root.joinpath(*name.split("."))
            home.mkdir(exist_ok=True)
            for entry in folder.iterdir():
                (home / entry.name).symlink_to(entry)
    found = griffe.load("rsvl", search_paths=[str(root)], allow_inspection=False, try_relative_path=False)
    assert isinstance(found, griffe.Module)
    return found


def stale(files: Iterable[Path], named: Callable[[str], list[str]], exists: Callable[[str], bool]) -> list[str]:
    """What files name and is not there, as ``file: name``."""
    return [
        f"{file.relative_to(ROOT)}: {name}"
        for file in files
        for name in sorted(set(named(file.read_text())))
        if not exists(name)
    ]


def resolves(package: griffe.Object | griffe.Alias, name: str) -> bool:
    """Whether a dotted name leads somewhere from the package, inherited members and re-exported names too."""
    found = package
    for part in name.split("."):
        if found.is_alias and not found.target_path.startswith("rsvl."):
            return True  # what is re-exported from elsewhere is that library's affair
        if part not in found.all_members:
            return False
        found = found.all_members[part]
    return True


def test_full_names_resolve(package: griffe.Module) -> None:
    assert stale(FILES, FULL_NAME.findall, lambda name: resolves(package, name.lstrip("."))) == []


def test_resolving_tells_stale_names(package: griffe.Module) -> None:
    absent = ("runtime.loads", "runtime.loading.Loader", "runtime.Segmenter.find", "nowhere")
    assert [resolves(package, name) for name in absent] == [False] * len(absent)
    present = ("runtime.load", "runtime.Segmenter.segment", "runtime.tasks.runner.Runner.provider", "load")
    assert [resolves(package, name) for name in present] == [True] * len(present)


def docstrings(source: str) -> Iterator[str]:
    """The docstrings of a program's module, classes and functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            yield ast.get_docstring(node) or ""


def words(source: str) -> Iterator[str]:
    """Every name that a program defines or uses, and the strings that could be keys."""
    for node in ast.walk(ast.parse(source)):
        for field in ("name", "id", "attr", "arg", "asname", "value"):
            value = getattr(node, field, None)
            if isinstance(value, str):
                yield from value.split(".")


def in_backticks(source: str) -> list[str]:
    """The names that a program's docstrings set in single backticks."""
    return [name for text in docstrings(source) for name in IN_BACKTICKS.findall(text)]


def test_names_in_docstrings_exist() -> None:
    known = {word for file in SOURCES for word in words(file.read_text())} | set(dir(builtins))
    known |= {file.stem for file in SOURCES} | {file.parent.name for file in SOURCES}
    assert stale(SOURCES, in_backticks, lambda name: known.issuperset(name.split("."))) == []


def test_named_source_files_exist() -> None:
    folders = [*ROOMS, ROOT / "tests", ROOT / "examples", ROOT / ".ci"]
    paths = [f"/{file.relative_to(ROOT).as_posix()}" for folder in folders for file in folder.rglob("*.*")]

    def named(source: str) -> list[str]:
        return FILE_NAME.findall(source if source.startswith("#") else "\n".join(docstrings(source)))

    assert stale([*SOURCES, *DOCUMENTS], named, lambda name: any(path.endswith(f"/{name}") for path in paths)) == []


def test_modules_that_a_package_lists_are_in_it() -> None:
    def listed(source: str) -> list[str]:
        return [name for line in LISTED.findall(next(docstrings(source))) for name in re.findall(r"`(\w+)`", line)]

    packages = [file for file in SOURCES if file.name == "__init__.py"]
    missing = [
        f"{file.relative_to(ROOT)}: {name}"
        for file in packages
        for name in listed(file.read_text())
        if not {file.with_name(f"{name}.py"), file.with_name(name)} & set(file.parent.iterdir())
    ]
    assert missing == []


def test_imports_of_documented_programs_resolve(package: griffe.Module) -> None:
    def imported(text: str) -> list[str]:
        return [
            f"{node.module}.{alias.name}"
            for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)
            for node in ast.walk(ast.parse(block))
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("rsvl")
            for alias in node.names
        ]

    assert stale(DOCUMENTS, imported, lambda name: resolves(package, name.removeprefix("rsvl."))) == []
    assert any(imported(document.read_text()) for document in DOCUMENTS)
