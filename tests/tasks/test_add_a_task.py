"""A task is added by the files that CONTRIBUTING.md lists: a toy task of just those files is exported, run and judged.

The files lie in `tests/support/counting_task`, as they would lie in the project, and are imported by the names that
they would have there.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from rsvl.export import export
from rsvl.modules.bases.exportable import ExportableModel
from rsvl.runtime import Query, RsvlError, load, manifest, tasks
from rsvl.runtime.check import check
from rsvl.runtime.manifest import GraphSpec, ImageSpec, ModelSpec, TensorSpec
from rsvl.tasks import open_split
from rsvl.train.config import TrainConfig
from rsvl.train.loop import train
from tests.cli.conftest import rsvl  # noqa: F401  # the command as a fixture
from tests.support.outcome import Rsvl

ROOT = Path(__file__).parents[2]
FILES = ROOT / "tests/support/counting_task"
PACKAGES = ("rsvl.runtime.tasks", "rsvl.runtime.results", "rsvl.metrics", "rsvl.tasks")
NAME = "object-counting"
SIZE, SIDE = 64, 4
EACH = 6


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The project with the toy task in it."""
    for package in map(import_module, PACKAGES):
        folder = FILES / package.__name__.replace("rsvl.runtime", "runtime").replace(".", "/")
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    monkeypatch.setattr(manifest, "COUNTING", NAME, raising=False)
    module = import_module("rsvl.runtime.tasks.counting")
    monkeypatch.setitem(tasks.TASKS, NAME, tasks.Task(module.Counter, module.compare, module.margin))
    yield
    for name in [name for name in sys.modules if name.startswith("rsvl.") and "counting" in name.split(".")]:
        del sys.modules[name]


class ToyCounter(ExportableModel):
    """Counts squares by the image's brightness."""

    def __init__(self, squares_per_brightness: float) -> None:
        super().__init__()
        image = ImageSpec(SIZE, (0.0,) * 3, (1.0,) * 3)
        graph = GraphSpec("count", (TensorSpec("image", ("batch", 3, SIZE, SIZE)),), (TensorSpec("count", ("batch",)),))
        self.spec = ModelSpec("toy-counter", NAME, "none", (image,), None, (graph,))
        self.scale = nn.Parameter(torch.tensor(squares_per_brightness))

    def count(self, image: Tensor) -> tuple[Tensor]:
        return (image.mean((1, 2, 3)) * self.scale,)

    def forward(self, images: Tensor, counts: Tensor | None = None) -> Tensor:
        (found,) = self.count(images)
        return found if counts is None else (found - counts).square().mean()


RIGHT = SIZE**2 / SIDE**2


@pytest.fixture
def squares(tmp_path: Path) -> Path:
    """Images of one, two and three white squares on black, a folder for each number."""
    for count in (1, 2, 3):
        folder = tmp_path / "squares" / str(count)
        folder.mkdir(parents=True)
        for number in range(EACH):
            pixels = np.zeros((SIZE, SIZE, 3), np.uint8)
            for square in range(count):
                row, column = SIDE * number, 2 * SIDE * square
                pixels[row : row + SIDE, column : column + SIDE] = 255
            Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "squares"


def test_toy_task_has_the_files_that_the_list_names() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    section = text.partition("## Adding a task\n")[2].partition("\n## ")[0]
    new, changed = section.split("gain a line")
    files = {path.relative_to(FILES).as_posix() for path in FILES.rglob("*.py")}
    assert files == set(re.findall(r"`(\S*counting\S*\.py)`", new))
    assert re.findall(r"^- `(\S+)`", changed, re.MULTILINE) == ["runtime/manifest.py", "runtime/tasks/__init__.py"]


def test_task_is_unknown_before_it_is_added() -> None:
    with pytest.raises(RsvlError, match=f"'{NAME}'"):
        open_split(NAME, "scenes", "nowhere", "all")
    assert tasks.find_task(NAME).runner.__name__ == "RawRunner"


def test_added_task_is_exported_checked_asked_evaluated_and_gated(
    counting: None,
    squares: Path,
    rsvl: Rsvl,  # noqa: F811
    tmp_path: Path,
) -> None:
    bundles = {"good": RIGHT, "worse": 0.7 * RIGHT}
    for name, scale in bundles.items():
        exported = export(ToyCounter(scale), tmp_path / f"{name}.bundle")
        assert [measure.name for measure in exported.verification.measures] == ["count difference"]
    good, worse = (tmp_path / f"{name}.bundle" for name in bundles)
    assert check(good).passed
    three = squares / "3" / "0.png"
    (found,) = load(good).ask(Query({"optical": three}))
    assert found.to_dict() == {"count": 3} and found.lines() == ["3 objects"]
    outcome = rsvl("run", good, three, "-o", tmp_path)
    assert outcome.code == 0 and "3 objects" in outcome.out
    data = ("--data", "scenes", "--root", squares, "--split", "all", "--threads", 1)
    assert rsvl("eval", good, *data, "--json").json["accuracy"] == 1.0
    assert rsvl("eval", worse, *data, "--json").json["accuracy"] == pytest.approx(1 / 3)
    assert rsvl("gate", good, "--baseline", good, *data, "--rounds", 0).code == 0
    outcome = rsvl("gate", worse, "--baseline", good, *data, "--rounds", 0)
    assert outcome.code == 1 and "accuracy" in outcome.out


def test_added_task_is_trained(counting: None, squares: Path, tmp_path: Path) -> None:
    split = open_split(NAME, "scenes", squares, "all")
    model = ToyCounter(0.9 * RIGHT)
    config = TrainConfig(epochs=2, batch=3, lr=10.0, warmup=0, weight_decay=0.0, workers=0)
    state = train(model, split, split, tmp_path / "run", config)
    losses = [row["loss"] for row in state.history]
    assert losses[1] < losses[0] and state.best == max(row["accuracy"] for row in state.history)
