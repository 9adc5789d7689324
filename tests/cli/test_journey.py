"""A small model all the way: train, resume, export, check, run, eval, by the command alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rsvl import registry
from tests.support.outcome import Rsvl

torch = pytest.importorskip("torch")
from rsvl.models.cd2fsan import CD2FSAN, TINY  # noqa: E402

SMALL = replace(
    TINY,
    image_size=64,
    vision=(64, 3, 2),
    text=(64, 1, 2),
    embed_dim=64,
    candidates=(1, 2),
    stem=(8, 16, 32, 64),
    adapter=16,
    width=64,
    imc=16,
    maam_layers=1,
    stages=((16, False), (16, True), (16, True)),
)


@pytest.fixture(autouse=True)
def small_model(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Registers `small`; one thread, as fits its size."""
    registry.names()
    monkeypatch.setitem(registry._ENTRIES, "small", registry.Entry("small", "cd2fsan", CD2FSAN, SMALL))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_model_goes_from_training_to_a_bundle_that_answers(
    rsvl: Rsvl, dataset: Path, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = ("--data", "rrsis-d", "--root", dataset)
    train = ("train", "--model", "small", *data, "-o", "run", "--batch-size", 2, "--workers", 0, "--epochs", 1)

    trained = rsvl(*train, "--warmup", 1, "--seed", 3, "--json")
    assert trained.json["best"]["epoch"] == 1 and trained.json["config"]["seed"] == 3
    assert "warning: no --weights" in trained.err
    again = rsvl(*train, "--warmup", 1, "--seed", 3)
    assert again.code == 2 and "--resume" in again.error
    assert rsvl(*train, "--warmup", 1, "--seed", 3, "--resume").out.startswith("best: mIoU")

    exported = rsvl("export", "--model", "small", "--weights", "run/best.safetensors", "--pack", "--json").json
    assert exported["source"]["weights"] == "best.safetensors" and len(exported["source"]["sha256"]) == 64
    iou = exported["verification"]["measures"][0]
    assert (iou["name"], iou["limit"]) == ("mask IoU", 0.995) and iou["value"] >= 0.995 and exported["bytes"] > 10_000

    assert rsvl("check", exported["packed"], "--json").json["passed"]
    assert rsvl("run", exported["bundle"], image, "-t", "the red square").code == 0
    assert (tmp_path / "square-overlay.png").is_file()

    in_pytorch = rsvl("eval", "small", "--weights", "run/best.safetensors", *data, "--json").json
    in_runtime = rsvl("eval", exported["bundle"], *data, "--json").json
    assert in_pytorch["runs_on"] == "PyTorch cpu" and in_runtime["runs_on"] == "cpu"
    assert in_pytorch["count"] == in_runtime["count"] > 0
    assert in_runtime["mIoU"] == pytest.approx(in_pytorch["mIoU"], abs=0.01)


def test_training_table_grows_by_a_row_an_epoch(rsvl: Rsvl, dataset: Path, tmp_path: Path) -> None:
    data = ("--data", "rrsis-d", "--root", dataset, "--val-limit", 1)
    outcome = rsvl(
        "train", "--model", "small", *data, "-o", tmp_path, "--epochs", 2, "--workers", 0, "--weights", "random"
    )
    head, *rows, last = [line.split() for line in outcome.out.splitlines()]
    assert head[:4] == ["epoch", "loss", "mIoU", "oIoU"]
    assert [row[0] for row in rows] == ["1", "2"] and {len(row) for row in rows} == {len(head)}
    assert last[0] == "best:" and "warning" not in outcome.err
