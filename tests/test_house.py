"""The house is as CONTRIBUTING.md and pyproject.toml say, and the documents name only what exists."""

from __future__ import annotations

import ast
import graphlib
import pydoc
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import yaml

import rsvl.cli

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PYPROJECT["tool"]["setuptools"]
#: Measured once and kept in the repository: what the command finds there when it is run from there, not installed.
RECORDS = ROOT / "benchmarks/results"
#: What only the makers need: a room that no wheel has, which runs from a checkout.
LABORATORY = ("rsvl.benchmarks.laboratory", ROOT / "benchmarks/laboratory")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def folder_of(package: str) -> Path:
    """Where a package's files lie: its nearest mapped ancestor's folder and the rest of its name below that."""
    mapped, rest = package, []
    while mapped not in SETUPTOOLS["package-dir"]:
        mapped, _, last = mapped.rpartition(".")
        rest.insert(0, last)
    return ROOT.joinpath(SETUPTOOLS["package-dir"][mapped], *rest)


PACKAGES = {package: folder_of(package) for package in SETUPTOOLS["packages"]}


def test_every_package_folder_is_listed() -> None:
    rooms = [ROOT / folder for folder in SETUPTOOLS["package-dir"].values()]
    found = {init.parent for room in rooms for init in room.rglob("__init__.py")}
    assert found - set(PACKAGES.values()) == {init.parent for init in LABORATORY[1].rglob("__init__.py")}
    assert set(PACKAGES.values()) <= found


def test_every_data_file_is_installed() -> None:
    globs = SETUPTOOLS["package-data"]
    installed = {
        file for package, folder in PACKAGES.items() for glob in globs.get(package, ()) for file in folder.glob(glob)
    }
    rooms = [ROOT / folder for folder in SETUPTOOLS["package-dir"].values()]
    present = {
        file for room in rooms for file in room.rglob("*") if file.is_file() and file.suffix not in (".py", ".pyc")
    }
    assert {file for file in present if RECORDS not in file.parents} == installed


def test_version_is_written_once_and_packaged() -> None:
    assert "version" not in PYPROJECT["project"] and PYPROJECT["project"]["dynamic"] == ["version"]
    assert SETUPTOOLS["dynamic"]["version"] == {"attr": "rsvl.__version__"}
    assert re.fullmatch(r"\d+\.\d+\.\d+", rsvl.__version__)


def imports(source: str) -> Iterator[str]:
    """The modules that a program imports: other people's by their top package, ours by room."""
    for node in ast.walk(ast.parse(source)):
        for name in imported(node):
            top, *rest = name.split(".")
            if top not in sys.stdlib_module_names:
                yield room_of(name) if top == "rsvl" and rest and rest[0] else top


def room_of(module: str) -> str:
    """The room that one of our modules is in."""
    return LABORATORY[0] if module.startswith(LABORATORY[0]) else ".".join(module.split(".")[:2])


def imported(node: ast.AST) -> list[str]:
    """What a statement or a call imports, by full names; ``rsvl.room`` from ``from rsvl import room``."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [f"rsvl.{a.name}" for a in node.names] if node.module == "rsvl" else [str(node.module)]
    if isinstance(node, ast.Call) and ast.unparse(node.func) in ("import_module", "importlib.import_module"):
        return [beginning(node.args[0])] if beginning(node.args[0]) else []
    return []


def beginning(text: ast.expr) -> str:
    """A string as far as it stands in the source: all of a plain one, the first part of an f-string, else nothing."""
    first = text.values[0] if isinstance(text, ast.JoinedStr) else text
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import torch.nn", ["torch"]),
        ("from rsvl import registry", ["rsvl.registry"]),
        ("from rsvl.plugins.driver import kernels", ["rsvl.plugins"]),
        ("from rsvl.benchmarks.laboratory.operations import measure", ["rsvl.benchmarks.laboratory"]),
        ("import_module('rsvl.plugins').register()", ["rsvl.plugins"]),
        ("importlib.import_module(f'rsvl.tasks.{name}.training')", ["rsvl.tasks"]),
        ("import_module(f'cuda.bindings.{name}')", ["cuda"]),
        ("import_module(name)", []),
        ("import os", []),
    ],
)
def test_imports_are_seen_in_statements_and_in_strings(source: str, expected: list[str]) -> None:
    assert list(imports(source)) == expected


RULES = re.findall(r"^\| `(\S+)/` \| `(\S+)` \| .* \| (.*) \|$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)


def test_every_room_has_a_rule() -> None:
    rooms = {folder for folder in PACKAGES.values() if folder.parent in (ROOT, ROOT / "rsvl")} - {ROOT / "rsvl"}
    assert {ROOT / folder for folder, _, _ in RULES} == {*rooms, LABORATORY[1]}


@pytest.mark.parametrize(("folder", "package", "allowed"), RULES, ids=[package for _, package, _ in RULES])
def test_room_imports_only_what_its_rule_names(folder: str, package: str, allowed: str) -> None:
    may = {*re.findall(r"`(\S+)`", allowed), package, "rsvl", "rsvl.__version__"}
    others = [ROOT / other for other, _, _ in RULES if other.startswith(f"{folder}/")]
    files = [f for f in sorted((ROOT / folder).rglob("*.py")) if not any(room in f.parents for room in others)]
    broken = [
        f"{file.relative_to(ROOT)}: {name}" for file in files for name in imports(file.read_text()) if name not in may
    ]
    assert files and not broken


MODULES = {
    package if file.stem == "__init__" else f"{package}.{file.stem}": file.read_text()
    for package, folder in PACKAGES.items()
    for file in folder.glob("*.py")
}


class RunTimeImports(ast.NodeVisitor):
    """Collects what a module imports at any time, without what only type checkers see and a package's lazy names."""

    def __init__(self, source: str, lazy_names: bool) -> None:
        self.names: list[str] = []
        self._lazy_names = lazy_names
        self.visit(ast.parse(source))

    def visit_If(self, node: ast.If) -> None:
        for each in node.orelse if ast.unparse(node.test).endswith("TYPE_CHECKING") else ast.iter_child_nodes(node):
            self.visit(each)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if not (self._lazy_names and node.name == "__getattr__"):  # PEP 562
            self.generic_visit(node)

    def generic_visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.ImportFrom):
            self.names += [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            self.names += imported(node)
        super().generic_visit(node)


def circle(sources: dict[str, str]) -> list[str]:
    """Modules that import each other in a circle, the first twice; none where there is no circle.

    A module imports what it names and the packages around that, but for those that it lies in itself.
    """
    packages = {name.rpartition(".")[0] for name in sources}
    graph: dict[str, set[str]] = {}
    for name, source in sources.items():
        found = set()
        for target in RunTimeImports(source, name in packages).names:
            module = target if target in sources else target.rpartition(".")[0]
            around = {module[: match.start()] for match in re.finditer(r"\.", module)}
            found |= {module} | {package for package in around if not f"{name}.".startswith(f"{package}.")}
        graph[name] = (found & sources.keys()) - {name}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


@pytest.mark.parametrize(
    ("sources", "found"),
    [
        ({"a": "import b", "b": "import c", "c": "from a import x"}, True),
        ({"a": "import b", "b": "def f():\n    import a"}, True),
        ({"a": "import b", "b": "import importlib\nimportlib.import_module('a')"}, True),
        ({"a": "import p.b", "p": "import a", "p.b": ""}, True),
        ({"a": "import b", "b": "if TYPE_CHECKING:\n    import a\nelse:\n    import c", "c": ""}, False),
        ({"p": "from p.a import x", "p.a": "from p import b", "p.b": ""}, False),
        ({"p": "def __getattr__(name):\n    import p.a", "p.a": "from p import x"}, False),
    ],
)
def test_circles_are_found(sources: dict[str, str], found: bool) -> None:
    assert bool(circle(sources)) == found


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circle(MODULES) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_relative_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"(?:\]\(|src=\")([^)\"\s]+)", document.read_text())
    relative = [link.partition("#")[0] for link in links if "://" not in link]
    assert [link for link in relative if not (document.parent / link).exists()] == []


def commands(text: str) -> Iterator[list[str]]:
    """What follows `rsvl` in each command line of code blocks, code spans and Makefile recipes."""
    for line in re.findall(r"(?:^|`|/|\$ )rsvl ([^`\n]+)", text.replace("\\\n", " "), re.MULTILINE):
        if not line.startswith("-"):  # an option of the command itself
            yield shlex.split(line.partition(" # ")[0])


@pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / "Makefile"], ids=lambda path: path.name)
def test_commands_and_options_exist(document: Path) -> None:
    known = typer.main.get_command(rsvl.cli.app).commands
    unknown = []
    for name, *arguments in commands(document.read_text()):
        options = (
            {spelling for parameter in known[name].params for spelling in parameter.opts} if name in known else set()
        )
        given = {argument.partition("=")[0] for argument in arguments if argument.startswith("-")}
        unknown += [name] * (name not in known) + [f"{name} {option}" for option in sorted(given - options)]
    assert unknown == []


TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_make_targets_exist() -> None:
    command = re.compile(r"(?:^|`)make ([\w-]+)", re.MULTILINE)
    named = {name for document in DOCUMENTS for name in command.findall(document.read_text())}
    assert {"demo", "test"} <= named <= TARGETS


def test_python_examples_name_what_exists() -> None:
    blocks = [
        block for document in DOCUMENTS for block in re.findall(r"```python\n(.*?)```", document.read_text(), re.DOTALL)
    ]
    nodes = [node for block in blocks for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Attribute)]
    names = {name for name in map(ast.unparse, nodes) if re.fullmatch(r"rsvl(\.\w+)+", name)}
    assert names and [name for name in names if pydoc.locate(name) is None] == []


#: Where a link may lead: pages of other projects that are known to exist. rsvl has no pages of its own.
KNOWN_PAGES = (
    "https://github.com/google-research/bert",
    "https://github.com/openai/CLIP",
    "https://github.com/mlfoundations/open_clip",
    "http://www.apache.org/licenses/",
    "https://github.com/phelber/EuroSAT",
    "http://www.opengis.net/",  # names of the standard's parts
    "http://{",  # an address of the user's own
    "http://127.0.0.1:",
)


def test_links_lead_to_known_pages_only() -> None:
    rooms = [ROOT / folder for folder in SETUPTOOLS["package-dir"].values()]
    suffixes = {".py", ".md", ".json", ".toml", ".txt", ".yml", ".yaml", ""}
    texts = [file for folder in [*rooms, ROOT / "docs", ROOT / "examples"] for file in folder.rglob("*")]
    texts += [file for file in ROOT.iterdir() if not file.name.startswith(".git")]
    links = {
        link
        for file in texts
        if file.is_file() and file.suffix in suffixes
        for link in re.findall(r"https?://[^\s)>\"'`,]+", file.read_text(encoding="utf-8"))
    }
    assert links and [link for link in sorted(links) if not link.startswith(KNOWN_PAGES)] == []


def test_commit_hooks_need_nothing_but_the_project() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = [hook for repository in config["repos"] for hook in repository["hooks"]]
    assert {repository["repo"] for repository in config["repos"]} == {"local"}
    assert hooks and {hook["language"] for hook in hooks} == {"system"}
    programs = [shlex.split(hook["entry"]) for hook in hooks]
    assert {program for program, *_ in programs} <= {"make", ".venv/bin/ruff", ".venv/bin/python"}
    assert {target for program, target, *_ in programs if program == "make"} <= TARGETS


def test_every_document_is_in_the_web_pages_menu() -> None:
    menu = re.findall(
        r"[\w./-]+\.md", (ROOT / "mkdocs.yml").read_text().partition("nav:")[2].partition("exclude_docs")[0]
    )
    assert sorted(menu) == sorted(str(path.relative_to(ROOT)) for path in [*DOCUMENTS, ROOT / "examples/README.md"])


#: What these documents call by the field's words: dataset, MACs, image or plot, CPU, primary metric, rotated kernels.
HOME_WORDS = re.compile(
    r"\b(data sets?|multiply-adds?|pictures?|processors?|the task's figure|turned kernels?|commonest)\b",
    re.IGNORECASE,
)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents_use_the_fields_words(document: Path) -> None:
    assert HOME_WORDS.findall(document.read_text(encoding="utf-8")) == []
