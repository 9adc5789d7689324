"""What is wrong with a released checkpoint, or with what is given beside it: one line, exit code 2, nothing written."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rsvl import registry
from tests.support.outcome import Rsvl

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")
from rsvl.models.lavt import LAVT  # noqa: E402
from rsvl.models.optisar.released import OptiSARNetPlusPlus  # noqa: E402
from rsvl.modules.encoders.swin import SwinSizes  # noqa: E402
from rsvl.modules.tokenizers.bert import VOCABULARY_SIZE  # noqa: E402
from tests.support import released_optisar as optisar  # noqa: E402
from tests.support.released_lavt import released_state, write_released  # noqa: E402
from tests.support.small_fusion import BERT, SWIN, small_model, small_preset  # noqa: E402

LAVT_FILE, GROUNDER_FILE = "model_best_lavt.pth", "best.pt"


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registers `small-lavt`, the same with as many words as BERT, `small-bert`, and `small-grounder`."""
    registry.names()
    for name, build, preset in (
        ("small-lavt", LAVT, small_preset("lavt", "")),
        ("small-bert", LAVT, small_preset("lavt", "", bert=replace(BERT, vocabulary=VOCABULARY_SIZE))),
        ("small-grounder", OptiSARNetPlusPlus, optisar.SMALL),
    ):
        monkeypatch.setitem(registry._ENTRIES, name, registry.Entry(name, name, build, preset))


class Call:
    """Pickles as a call of a function."""

    def __init__(self, *call: Any) -> None:
        self.call = call[0], call[1:]

    def __reduce__(self) -> Any:
        return self.call


def lavt(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]] = dict, **more: Any) -> list[object]:
    write_released(change(released_state(small_model("lavt"))), folder / LAVT_FILE, **more)
    return ["--model", "small-lavt", "--weights", folder / LAVT_FILE]


def another_scale(folder: Path) -> list[object]:
    sizes = SwinSizes(embed=48, depths=SWIN.depths, heads=SWIN.heads, window=2, mlp_ratio=1)
    return lavt(folder, lambda _: released_state(small_model("lavt", swin=sizes)))


def another_vocabulary(folder: Path) -> list[object]:
    words = {"text_encoder.embeddings.word_embeddings.weight": torch.zeros(900, 24)}
    return lavt(folder, lambda state: {**state, **words})


def not_finite(folder: Path) -> list[object]:
    return lavt(folder, lambda state: {**state, "classifier.conv1_1.bias": torch.full((2,), torch.nan)})


def half_a_download(folder: Path) -> list[object]:
    given, path = lavt(folder), folder / LAVT_FILE
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return given


def first_epoch(folder: Path) -> list[object]:
    return lavt(folder, lambda _: {}, epoch=0)


def another_tokenizer(folder: Path) -> list[object]:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"word{i}" for i in range(40))]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    return ["--model", "small-bert", "--weights", "random", "--tokenizer", folder / "vocab.txt"]


def grounder(folder: Path, **file: Any) -> list[object]:
    """With its weights under ``model``, unless the file is to hold something else."""
    weights, tower = optisar.random_weights()
    torch.save({"epoch": -1, "ema": None, "model": optisar.in_published_names(weights), **file}, folder / GROUNDER_FILE)
    torch.save(tower, folder / "text.pt")
    given = ["--weights", folder / GROUNDER_FILE, "--encoder-weights", folder / "text.pt"]
    return ["--model", "small-grounder", *given]


def grounder_of_another_scale(folder: Path) -> list[object]:
    weights = optisar.in_published_names(optisar.random_weights()[0])
    first = weights["model.0.conv.weight"]
    return grounder(folder, model={**weights, "model.0.conv.weight": first.repeat(4, 1, 1, 1)})


def grounder_without_a_best_epoch(folder: Path) -> list[object]:
    return grounder(folder, model=None, best_fitness=None)


def payload(folder: Path) -> list[object]:
    return grounder(folder, train_args=Call(os.system, f"touch {folder / 'harm'}"))


BAD: dict[str, tuple[Callable[[Path], Sequence[object]], str]] = {
    "of another scale": (another_scale, "does not fit small-lavt (other shapes: "),
    "of another vocabulary": (another_vocabulary, "word_embeddings.weight is [900, 24] and should be [1024, 24]"),
    "not finite": (not_finite, "holds NaN or infinity (classes.bias)"),
    "half a download": (half_a_download, "whose end is missing: download it again"),
    "of a first epoch": (first_epoch, "holds no named tensors"),
    "tokenizer of another size": (another_tokenizer, "has 44 tokens, the model embeds 30522"),
    "grounder of another scale": (grounder_of_another_scale, "trunk.layers.0.conv.weight is ["),
    "grounder of a first epoch": (grounder_without_a_best_epoch, "holds no named tensors"),
    "payload": (payload, "system to be run on loading, which is refused"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_checkpoint_that_cannot_be_used_is_one_line(case: str, rsvl: Rsvl, tmp_path: Path) -> None:
    make, said = BAD[case]
    given = make(tmp_path)
    before = {path.name for path in tmp_path.iterdir()}
    outcome = rsvl("export", *given, "-o", tmp_path / "out.bundle")
    assert outcome.code == 2 and said in outcome.error, outcome.err
    assert {path.name for path in tmp_path.iterdir()} == before
