"""A released checkpoint as it is downloaded: options, optimizer, BERT apart; and what such files can have wrong."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from rsvl import registry
from rsvl.checkpoints import load_weights, read_state_dict
from rsvl.modules.encoders.swin import SwinSizes
from rsvl.runtime.errors import CheckpointError
from tests.support.released_lavt import State, released_state, write_released
from tests.support.small_fusion import SWIN, small_model, small_preset


def trained() -> nn.Module:
    """What the file holds the weights of."""
    return small_model("lavt")


def fresh(name: str = "lavt") -> nn.Module:
    """What is filled; other weights."""
    torch.manual_seed(7)
    return registry.entry(name).build("test", small_preset(name, ""))


def same(model: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(value, other.state_dict()[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("apart", [False, True])
def test_the_authors_file_fills_the_model_and_says_what_it_left_out(apart: bool, tmp_path: Path) -> None:
    write_released(released_state(trained()), tmp_path / "lavt.pth", apart)
    model = fresh()
    with pytest.warns(UserWarning, match=r"left out, 1 that no output depends on \(backbone\.layers\.3\.res_gate\.0"):
        load_weights(model, tmp_path / "lavt.pth")
    assert same(model, trained())


def test_entries_that_nobody_knows_are_named(tmp_path: Path) -> None:
    state = released_state(trained())
    del state["backbone.layers.3.res_gate.0.weight"]
    write_released({**state, "backbone.extra.weight": torch.ones(2)}, tmp_path / "lavt.pth")
    with pytest.warns(UserWarning, match=r"left out, 1 unknown \(backbone\.extra\.weight\)"):
        load_weights(fresh(), tmp_path / "lavt.pth")


def test_the_moving_average_of_a_training_on_several_gpus_is_read_where_it_is_asked_for(tmp_path: Path) -> None:
    state = released_state(trained())
    parallel = {f"module.{key}": value for key, value in state.items()}
    average = {**parallel, "n_averaged": torch.tensor(3)}
    worse = {key: torch.zeros_like(value) for key, value in parallel.items()}
    write_released(worse, tmp_path / "lavt.pth", model_ema=average)
    model = fresh()
    with pytest.warns(UserWarning, match="left out, 1 that no output depends on"):
        load_weights(model, tmp_path / "lavt.pth", ema=True)
    assert same(model, trained())


def test_the_optimizers_state_takes_no_memory(tmp_path: Path) -> None:
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("no /proc")

    def resident() -> int:
        """Bytes of this process that are not a file's."""
        line = next(line for line in status.read_text().splitlines() if line.startswith("RssAnon"))
        return int(line.split()[1]) * 1024

    size = 64 << 20
    write_released({"weight": torch.ones(2)}, tmp_path / "a.pth", optimizer={"state": {0: torch.ones(size // 4)}})
    read_state_dict(tmp_path / "a.pth")
    before = resident()
    assert torch.equal(read_state_dict(tmp_path / "a.pth")["weight"], torch.ones(2))
    assert resident() - before < size / 4


def without(key: str) -> Callable[[State], State]:
    return lambda state: {name: value for name, value in state.items() if name != key}


def with_nan(state: State) -> State:
    broken = state["classifier.conv1_1.weight"].clone()
    broken[0, 0] = torch.nan
    return {**state, "classifier.conv1_1.weight": broken}


def of_another_scale(_: State) -> State:
    sizes = SwinSizes(embed=48, depths=SWIN.depths, heads=SWIN.heads, window=2, mlp_ratio=1)
    return released_state(small_model("lavt", swin=sizes))


def of_another_window(state: State) -> State:
    table = "backbone.layers.0.blocks.0.attn.relative_position_bias_table"
    return {**state, table: torch.zeros(49, 1)}


def of_another_vocabulary(state: State) -> State:
    return {**state, "text_encoder.embeddings.word_embeddings.weight": torch.zeros(900, 24)}


def of_rmsin(state: State) -> State:
    return {**state, "backbone.cim.bn.weight": torch.ones(2)}


BAD = {
    "missing": (without("classifier.bn1_3.weight"), r"missing: decoder\.blocks\.1\.norm1\.weight"),
    "not finite": (with_nan, r"holds NaN or infinity \(classes\.weight\)"),
    "another scale": (
        of_another_scale,
        r"other shapes: image_encoder\..* is \[48, 3, 4, 4\] and should be \[24, 3, 4, 4\]",
    ),
    "another window": (of_another_window, r"other shapes: .*relative_position_bias_table is \[49, 1\] and should be"),
    "another vocabulary": (of_another_vocabulary, r"word_embeddings\.weight is \[900, 24\] and should be \[1024, 24\]"),
    "another model": (of_rmsin, r"is a checkpoint of rmsin, not of test: use --model rmsin"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_named_and_changes_nothing(case: str, tmp_path: Path) -> None:
    change, named = BAD[case]
    write_released(change(released_state(trained())), tmp_path / "lavt.pth")
    model = fresh()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=named) as caught:
        load_weights(model, tmp_path / "lavt.pth")
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_half_a_download_is_named(tmp_path: Path) -> None:
    write_released(released_state(trained()), tmp_path / "lavt.pth")
    whole = (tmp_path / "lavt.pth").read_bytes()
    (tmp_path / "lavt.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"beginning of a PyTorch file .* download it again"):
        load_weights(fresh(), tmp_path / "lavt.pth")


def test_a_training_without_a_best_epoch_holds_no_weights(tmp_path: Path) -> None:
    write_released({}, tmp_path / "lavt.pth", epoch=0, best_oIoU=torch.tensor(-0.1))
    with pytest.raises(CheckpointError, match="holds no named tensors"):
        load_weights(fresh(), tmp_path / "lavt.pth")


def test_saved_weights_that_were_released_load_again_without_a_word(tmp_path: Path) -> None:
    from rsvl.checkpoints import save_weights

    save_weights(trained(), tmp_path / "ours.safetensors")
    model = fresh()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_weights(model, tmp_path / "ours.safetensors")
    assert same(model, trained())
