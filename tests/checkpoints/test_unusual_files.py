"""Files in the place of a checkpoint are named as what they are; what trainings wrap weights in comes off."""

from __future__ import annotations

import os
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import rsvl
from rsvl.checkpoints import load_encoder_weights, load_weights, read_state_dict
from rsvl.runtime.errors import CheckpointError
from tests.support.tiny_clip import Encoders, State, clip_config, openai_state, randomised


def model() -> Encoders:
    """What is filled, random."""
    return Encoders(clip_config())


def own_state() -> State:
    return dict(randomised(model()).state_dict())


def below(prefix: str, state: State) -> State:
    return {f"{prefix}{key}": value for key, value in state.items()}


LOSS = {"criterion.weight": torch.ones(2), "loss_fn.bce.pos_weight": torch.ones(1)}
WRAPPED: dict[str, tuple[Callable[[State], Any], str]] = {
    "lightning": (lambda state: {"state_dict": below("model.", state), "pytorch-lightning_version": "2.5"}, ""),
    "lightning and loss": (lambda state: {"state_dict": below("net.", state) | LOSS}, "below net. are taken, 2 others"),
    "lightning of compiled": (lambda state: below("model._orig_mod.", state), ""),
    "data parallel in lightning": (lambda state: below("model.module.", state) | LOSS, "below model. are taken"),
    "data parallel and loss": (lambda state: below("module.", state) | LOSS, r"2 others are not \(criterion.weight"),
    "task in trainer": (
        lambda state: below("task.model.", state) | {"task.step": torch.ones(1)},
        "task.model. are taken",
    ),
    "loss beside": (lambda state: state | LOSS, r"2 entries of a loss are left out \(criterion.weight, loss_fn"),
    "average beside": (
        lambda state: below("model.", state) | below("model_ema.", {k: v * 0 for k, v in state.items()}),
        "below model. are taken",
    ),
}


@pytest.mark.parametrize("case", WRAPPED)
def test_what_trainings_wrap_weights_in_comes_off(case: str, tmp_path: Path) -> None:
    wrap, said = WRAPPED[case]
    torch.save(wrap(own_state()), tmp_path / "a.ckpt")
    filled = model()
    with warnings.catch_warnings(record=True) as lines:
        warnings.simplefilter("always")
        load_weights(filled, tmp_path / "a.ckpt")
    expected = own_state()
    assert all(torch.equal(value, expected[key]) for key, value in filled.state_dict().items())
    (line,) = [str(line.message) for line in lines] or [""]
    assert re.search(said, line) and bool(line) is bool(said)


def test_encoders_within_a_larger_model_are_taken(tmp_path: Path) -> None:
    state = below("clip.", openai_state())
    torch.save({"state_dict": state | {"head.weight": torch.ones(2, 2)}}, tmp_path / "a.ckpt")
    filled = model()
    with pytest.warns(UserWarning, match=r"below clip\. are taken, 1 others are not \(head\.weight\)"):
        load_encoder_weights(filled, tmp_path / "a.ckpt")
    assert torch.equal(filled.text_encoder.text_model.final_layer_norm.bias, state["clip.ln_final.bias"])


def test_two_models_in_one_file_are_not_chosen_between(tmp_path: Path) -> None:
    torch.save(below("student.", own_state()) | below("teacher.", own_state()), tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"holds the model below student and teacher: save one of them alone"):
        load_weights(model(), tmp_path / "a.pth")


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int32, torch.float8_e4m3fn])
def test_quantized_weights_without_scales_are_refused(dtype: torch.dtype, tmp_path: Path) -> None:
    state = own_state()
    state["head.weight"] = (state["head.weight"] * 10).to(dtype)
    save_file(state, tmp_path / "a.safetensors")
    filled = model()
    before = filled.head.weight.clone()
    with pytest.raises(CheckpointError, match=r"quantized weights .*\(head\.weight as .*8|32\)"):
        load_weights(filled, tmp_path / "a.safetensors")
    assert torch.equal(filled.head.weight, before)


def half(write: Callable[[State, Path], None]) -> Callable[[Path], object]:
    def truncated(path: Path) -> None:
        write({"weight": torch.ones(4000)}, path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return truncated


def write_bundle(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.json", "{}")


POINTER = "version https://git-lfs.example/spec/v1\noid sha256:4d7a\nsize 605247071\n"
NAMED: dict[str, tuple[Callable[[Path], object], str]] = {
    "lfs": (lambda path: path.write_text(POINTER), "a Git LFS pointer.*git lfs pull"),
    "page": (lambda path: path.write_text("\n<!DOCTYPE html><html><title>Sign in</title></html>"), "a web page"),
    "error": (
        lambda path: path.write_text('<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>'),
        "a web page",
    ),
    "empty": (lambda path: path.touch(), "empty: download it again"),
    "zeros": (lambda path: path.write_bytes(bytes(9000)), "zeros, which a download that has stopped leaves"),
    "half safetensors": (half(save_file), r"8040 of the 16080 bytes of a safetensors file: download it again"),
    "half header": (
        lambda path: path.write_bytes((900).to_bytes(8, "little") + b'{"weight"'),
        "whose header alone has 900",
    ),
    "half torch": (half(torch.save), "the beginning of a PyTorch file .* whose end is missing: download it again"),
    "bundle": (write_bundle, "a bundle, which rsvl export made"),
    "zip": (lambda path: zipfile.ZipFile(path, "w").writestr("a.txt", "b"), "a ZIP archive without a checkpoint"),
    "gguf": (lambda path: path.write_bytes(b"GGUF" + bytes(40)), "a GGUF file"),
    "gzip": (lambda path: path.write_bytes(b"\x1f\x8b\x08" + bytes(40)), "unpack it"),
}


@pytest.mark.parametrize("case", NAMED)
def test_a_file_that_is_no_checkpoint_is_named(case: str, tmp_path: Path) -> None:
    write, named = NAMED[case]
    write(tmp_path / "weights")
    with pytest.raises(CheckpointError, match=named) as caught:
        read_state_dict(tmp_path / "weights")
    assert "\n" not in str(caught.value)


def fifo(path: Path) -> Path:
    if not hasattr(os, "mkfifo"):
        pytest.skip("pipes with a name are POSIX's")
    os.mkfifo(path)
    return path


PLACES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "pipe": (lambda folder: fifo(folder / "weights"), "is a pipe or device"),
    "device": (lambda folder: Path("/dev/zero"), "is a pipe or device"),
    "folder of a pipe": (lambda folder: fifo(folder / "model.safetensors").parent, "holds no weights"),
    "folder": (lambda folder: folder, "holds no weights: expected model.safetensors"),
}


@pytest.mark.parametrize("case", PLACES)
def test_what_is_no_file_is_refused_at_once(case: str, tmp_path: Path) -> None:
    place, named = PLACES[case]
    with pytest.raises(CheckpointError, match=named):
        rsvl.load("clip-tiny", weights=place(tmp_path))


def test_a_pipe_in_place_of_a_configuration_is_refused_at_once(tmp_path: Path) -> None:
    save_file(openai_state(), tmp_path / "open_clip_model.safetensors")
    fifo(tmp_path / "open_clip_config.json")
    with pytest.raises(CheckpointError, match=r"open_clip_config\.json cannot be read as a model's configuration"):
        load_encoder_weights(model(), tmp_path)


@pytest.mark.parametrize(
    ("file", "named"),
    [("best.safetensors", r"give .*best\.safetensors, which rsvl train wrote"), ("manifest.json", "is a bundle")],
)
def test_a_folder_of_something_else_says_which_file_to_give(file: str, named: str, tmp_path: Path) -> None:
    (tmp_path / file).touch()
    with pytest.raises(CheckpointError, match=named):
        read_state_dict(tmp_path)
