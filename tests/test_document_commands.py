"""Every command line in a code block of the documents runs, one after the other, and writes what it should.

They run in a folder with the files that they name, on a tiny model (`tests.support.stand_ins`) with tiny data.
`SMALLER` says which of their numbers are made smaller. What needs a GPU says so in one line.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from accelerate.state import AcceleratorState
from PIL import Image

from rsvl.cli import main
from rsvl.data.synth import write
from rsvl.runtime.backends.cuda.cuda_device import find_device
from rsvl.runtime.cache import CACHE
from tests.support.coco_file import write as write_coco
from tests.support.stand_ins import StandIn, put_stand_ins, write_clip
from tests.test_house import DOCUMENTS, ROOT

#: Options that a command gets, in the place of its own where it has them.
SMALLER = {
    "synth": {"--scenes": "5", "--val": "1", "--test": "2", "--size": "64", "--workers": "1"},
    "train": {
        **{"--epochs": "1", "--epoch-images": "2", "--batch-size": "2", "--sentences": "2", "--warmup": "1"},
        **{"--workers": "0", "--val-limit": "1"},
    },
    "quantize": {"--calibration-limit": "2", "--metric-limit": "2"},
    "bench": {"--rounds": "1", "--batch-size": "1", "--threads": "1"},
    "gate": {"--rounds": "5"},
    "tune": {"--seconds": "1"},
    "watch": {"--once": "", "--settle": "0", "--poll": "0.01"},
}
#: The same for a command with one of these options.
SMALLER_WITH = {"--int8": SMALLER["quantize"], "--baselines": {"--no-compile": ""}}
#: What is a missing component for a command, an option or a value of one: modules, and a GPU.
NEEDS = {
    "engine": ["tensorrt_rtx"],
    "--plugin": ["tensorrt", "GPU"],
    "engines": ["GPU"],
    "openvino": ["openvino"],
    "--ray": ["ray"],
    "openvino-bf16": ["openvino"],
}
#: What each command writes, from its arguments; the options that name a file are checked for every command.
WRITES: dict[str, Callable[[list[str]], list[str]]] = {
    "synth": lambda given: [f"{given[0]}/**/*.*"],
    "export": lambda given: [f"{value(given, '-o', '*.bundle')}/{name}" for name in ("manifest.json", "*.onnx")],
    "quantize": lambda given: [f"{value(given, '-o', '*.bundle')}/manifest.json"],
    "train": lambda given: [f"{value(given, '-o')}/{name}" for name in ("best.safetensors", "last.pt", "history.json")],
    "run": lambda given: [f"{value(given, '-o', '.')}/{Path(given[1]).stem}-*"],
    "engine": lambda given: [f"{given[0]}/engines/*.engine"],
}
FILES = ("--plot", "--results", "--record", "--sensitivity", "--junit", "--summary")


def value(given: list[str], option: str, default: str = "") -> str:
    """What follows an option among arguments."""
    return given[given.index(option) + 1] if option in given else default


def command_lines(text: str) -> Iterator[list[str]]:
    """What follows `rsvl` in each command line of fenced and indented code blocks and of recipes."""
    fenced = False
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith(("    ", "\t")):
            found = re.fullmatch(r"\s*(?:\$ |\$\(BIN\)/)?rsvl (.*)", line)
            if found:
                yield shlex.split(found[1].partition(" # ")[0])


PLACES = [*DOCUMENTS, ROOT / "Makefile", *sorted((ROOT / "examples").glob("*.md")), ROOT / "examples/scene_moe.py"]
MIXTURE = re.search(r"```json\n(.*?)```", (ROOT / "docs/training.md").read_text(encoding="utf-8"), re.DOTALL)[1]
"""The list of datasets that the documentation mixes."""
COMMANDS = {path: list(command_lines(path.read_text(encoding="utf-8"))) for path in PLACES}


def test_the_documents_show_commands_of_every_kind() -> None:
    shown = {command for lines in COMMANDS.values() for command, *_ in lines}
    assert {"synth", "train", "export", "quantize", "check", "run", "eval", "gate", "bench", "paper", "engine"} <= shown


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Graphs that were exported once."""
    return tmp_path_factory.mktemp("graphs")


@pytest.fixture(scope="module")
def bundle(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in's float32 bundle."""
    from rsvl.export import export

    with pytest.MonkeyPatch.context() as patch:
        put_stand_ins(patch, exported)
        return export(StandIn("cd2fsan-tiny"), tmp_path_factory.mktemp("bundle") / "tiny.bundle").path


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with as many test images as a gate needs."""
    return write(tmp_path_factory.mktemp("scenes") / "root", 15, seed=1, size=64, val=2, test=10).root


@pytest.fixture
def folder(
    bundle: Path, scenes: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """The current folder, with the files that documents name without making them."""
    for name in ("tiny", "tiny-fp32", "tiny-fp16", "tiny-int8", "full"):
        shutil.copytree(bundle, tmp_path / f"{name}.bundle")
    for name in ("data/scenes", "RRSIS-D"):
        shutil.copytree(scenes, tmp_path / name)
    (tmp_path / "in").mkdir()
    shutil.copy(ROOT / "docs/scene.jpg", tmp_path / "in")
    for name in ("mine", "data/mine"):
        write_coco(tmp_path / name)
    (tmp_path / "mix.json").write_text(MIXTURE)
    _write_classes(tmp_path / "EuroSAT")
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    for name in ("harbour.png", "harbour.jpg"):
        Image.fromarray(pixels).save(tmp_path / name)
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / "docs/scene.jpg", tmp_path / "docs")
    shutil.copy(ROOT / "examples/scene_moe.py", tmp_path)
    write_clip(tmp_path / "ViT-B-16.pt")
    put_stand_ins(monkeypatch, exported)
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("scene_moe", None)


def _write_classes(root: Path) -> None:
    """Six noisy images of each of two classes."""
    rng = np.random.default_rng(0)
    for name in ("Forest", "River"):
        (root / name).mkdir(parents=True)
        for number in range(6):
            pixels = rng.integers(0, 256, (64, 64, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{name}_{number}.png")


@pytest.mark.parametrize("place", [path for path in PLACES if COMMANDS[path]], ids=lambda path: path.name)
def test_commands_of_a_document_run(place: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for shown in COMMANDS[place]:
        command, *given = smaller(shown)
        made = {"synth": given[:1], "train": [value(given, "-o")], "export": [value(given, "-o")]}.get(command, [])
        for name in filter(None, made):
            shutil.rmtree(name, ignore_errors=True)  # a document makes some of them twice
        AcceleratorState._reset_state(reset_partial_state=True)  # each command is a process of its own
        capsys.readouterr()
        code = main([command, *given])
        out, err = capsys.readouterr()
        errors = [line for line in err.splitlines() if line.startswith("error: ")]
        if missing(command, given):
            assert (code, len(errors), out) == (3, 1, ""), f"rsvl {shlex.join(shown)}: {err}"
            continue
        assert (code, errors) == (0, []), f"rsvl {shlex.join(shown)}: {err}"
        promised = [*WRITES.get(command, lambda _: [])(given), *(value(given, option) for option in FILES)]
        assert [name for name in filter(None, promised) if not any(folder.glob(name))] == [], shlex.join(shown)


def smaller(command: list[str]) -> list[str]:
    """The command with `SMALLER` options."""
    name, *given = command
    options = SMALLER.get(name, {}) | {k: v for option in given for k, v in SMALLER_WITH.get(option, {}).items()}
    for option, number in options.items():
        if option in given:
            given[given.index(option) + 1] = number
        else:
            given += [option, number] if number else [option]
    return [name, *given]


def missing(command: str, given: list[str]) -> bool:
    """Whether a command needs what is not here."""
    needed = {need for word in (command, *given) for need in NEEDS.get(word, [])}
    return any(find_device()[0] is None if need == "GPU" else find_spec(need) is None for need in needed)
