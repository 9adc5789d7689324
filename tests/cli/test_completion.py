"""What the shell offers after TAB, and that its set-up is there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rsvl.benchmarks.papers import published
from rsvl.cli import completion
from rsvl.data.catalog import DATASETS
from rsvl.runtime.backends.tensorrt.targets import TARGETS


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RSVL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize(
    ("names", "all_of_them"),
    [
        (completion.datasets, DATASETS),
        (completion.tables, published.tables()),
        (completion.targets, ["here", "any", *TARGETS]),
    ],
)
def test_every_name_is_offered_that_begins_alike(names, all_of_them) -> None:
    assert names("") == list(all_of_them)
    start = list(all_of_them)[-1][:3]
    assert names(start) == [name for name in all_of_them if name.startswith(start)] and names("zzz") == []


def test_providers_are_those_that_the_option_takes() -> None:
    assert completion.providers("openvino") == ["openvino", "openvino-bf16"]
    assert {"engines", "cpu", "cuda", "tensorrt"} <= set(completion.providers(""))


def test_models_are_remembered_until_their_files_change(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    from rsvl import registry

    assert completion.models("") == registry.names()
    with monkeypatch.context() as patch:
        patch.setattr(registry, "names", lambda: pytest.fail("they were listed again"))
        assert completion.models("cd2fsan") == ["cd2fsan", "cd2fsan-tiny"]
    remembered = cache / completion.MODELS
    remembered.write_text(json.dumps({"state": ["older", 0], "names": ["gone"]}))
    assert completion.models("gone") == [] and "cd2fsan" in json.loads(remembered.read_text())["names"]
    remembered.write_text("damaged")
    assert completion.models("tgfnet") == ["tgfnet", "tgfnet-tiny"]


def test_models_are_none_without_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> list[str]:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr("rsvl.registry.names", absent)
    assert completion.models("") == []


def test_shell_completes_what_it_is_asked_for() -> None:
    words = {"_RSVL_COMPLETE": "complete_bash", "COMP_WORDS": "rsvl paper opt", "COMP_CWORD": "2"}
    done = subprocess.run([sys.executable, "-m", "rsvl"], env=words, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["optisar-net++"], done.stderr


def test_shell_script_can_be_shown() -> None:
    program = "import sys; from rsvl.cli import main; sys.exit(main(['--show-completion', 'bash']))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and "_RSVL_COMPLETE" in done.stdout, done.stderr
