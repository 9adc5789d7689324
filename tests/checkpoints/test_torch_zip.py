"""Files of `torch.save` read as data: any class becomes an inert record, a saved module gives its state dict."""

from __future__ import annotations

import argparse
import collections
import os
import pathlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rsvl.checkpoints import read_state_dict
from rsvl.checkpoints.state_dicts import read_checkpoint
from rsvl.checkpoints.torch_zip import StoredTensor, read_torch_zip
from rsvl.runtime.errors import CheckpointError

WEIGHT, AVERAGE = torch.arange(6.0).reshape(2, 3), torch.arange(6.0).reshape(2, 3) + 0.5


class Strange(nn.Module):
    """A module with what a state dict leaves out."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(3, 2, bias=False), nn.BatchNorm1d(2))
        self.register_buffer("kept", torch.tensor([7, 8]))
        self.register_buffer("passing", torch.ones(1), persistent=False)
        self.anchors = torch.ones(4)  # a plain attribute is no weight


def test_plain_objects_beside_the_weights_do_no_harm(tmp_path: Path) -> None:
    beside: dict[str, Any] = {
        "args": argparse.Namespace(lr=0.1, out=pathlib.Path("runs")),
        "best": np.float64(0.7),
        "milestones": collections.Counter({3: 1}),
        "history": collections.defaultdict(list, {"loss": [1.0]}),
        "dtype": torch.float16,
        "names": {"a", "b"},
    }
    torch.save({"model": {"weight": WEIGHT}, "optimizer": {"state": {0: WEIGHT * 2}}, **beside}, tmp_path / "a.pth")
    assert torch.equal(read_state_dict(tmp_path / "a.pth")["weight"], WEIGHT)


def test_an_optimizers_tensors_stay_on_the_disk(tmp_path: Path) -> None:
    torch.save({"model": {"weight": WEIGHT}, "optimizer": {"moment": AVERAGE}}, tmp_path / "a.pth")
    found = read_torch_zip(tmp_path / "a.pth")
    assert isinstance(found["optimizer"]["moment"], StoredTensor)
    assert torch.equal(found["optimizer"]["moment"].read(), AVERAGE)


@pytest.mark.parametrize("tensor", [WEIGHT.T, WEIGHT[1:, ::2], torch.tensor(3), torch.zeros(0, 2), WEIGHT.bfloat16()])
def test_views_and_types_are_read_as_torch_reads_them(tensor: torch.Tensor, tmp_path: Path) -> None:
    torch.save({"weight": tensor}, tmp_path / "a.pth")
    found = read_state_dict(tmp_path / "a.pth")["weight"]
    assert found.dtype == tensor.dtype and torch.equal(found, tensor)


def test_a_saved_module_gives_its_state_dict(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(3, 2), nn.Sequential(nn.BatchNorm1d(2)))
    torch.save(module, tmp_path / "a.pth")
    found = read_state_dict(tmp_path / "a.pth")
    assert found.keys() == module.state_dict().keys()
    assert all(torch.equal(found[key], value) for key, value in module.state_dict().items())


def test_buffers_that_do_not_persist_and_attributes_are_left_out(tmp_path: Path) -> None:
    module = Strange()
    torch.save({"epoch": -1, "ema": None, "model": module}, tmp_path / "best.pt")
    # The class under a name that leads nowhere: nothing is imported on reading.
    rename_in_pickle(tmp_path / "best.pt", Strange.__module__, "package_that_is_not_here")
    assert read_state_dict(tmp_path / "best.pt").keys() == module.state_dict().keys()


def rename_in_pickle(path: Path, old: str, new: str) -> None:
    """Puts another module's name, no longer than the old one, into the archive's pickle."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            renamed = data.replace(f"c{old}\n".encode(), f"c{new}\n".encode()) if name.endswith("data.pkl") else data
            archive.writestr(name, renamed)


@pytest.mark.parametrize(("ema", "expected"), [(False, WEIGHT), (True, AVERAGE)])
def test_of_weights_and_their_average_one_is_taken_and_named(
    ema: bool, expected: torch.Tensor, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    torch.save({"state_dict": {"weight": WEIGHT}, "ema": {"weight": AVERAGE}}, tmp_path / "a.pth")
    assert torch.equal(read_checkpoint(tmp_path / "a.pth", ema).tensors["weight"], expected)
    said = [str(warning.message) for warning in recwarn]
    assert ("the weights under state_dict are taken" in " ".join(said)) is not ema


def test_an_average_alone_is_taken_and_one_that_is_missing_is_refused(tmp_path: Path) -> None:
    torch.save({"ema_state_dict": {"weight": AVERAGE}}, tmp_path / "alone.pth")
    assert torch.equal(read_state_dict(tmp_path / "alone.pth")["weight"], AVERAGE)
    torch.save({"weight": WEIGHT}, tmp_path / "none.pth")
    with pytest.raises(CheckpointError, match="no moving average"):
        read_checkpoint(tmp_path / "none.pth", ema=True)


@pytest.mark.parametrize(
    "key",
    ["module.a.b", "a._orig_mod.b", "module._orig_mod.a.b", "_fsdp_wrapped_module.a._fsdp_wrapped_module.b"],
)
def test_what_wrappers_put_into_names_is_taken_off(key: str, tmp_path: Path) -> None:
    counters = {"n_averaged": torch.tensor(4), "total_ops": torch.zeros(1)}
    torch.save({key: WEIGHT, **counters}, tmp_path / "a.pth")
    assert list(read_state_dict(tmp_path / "a.pth")) == ["a.b"]


class Call:
    """Pickles as a call of the function that the pickle names."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("function", [eval, print, exec, os.system])
def test_a_call_of_pythons_own_is_refused_by_name(function: Any, tmp_path: Path) -> None:
    torch.save({"weight": WEIGHT, "extra": Call(function, "open('harm', 'w')")}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=f"{function.__name__} to be run on loading, which is refused"):
        read_state_dict(tmp_path / "a.pth")


def test_a_tensor_larger_than_its_storage_is_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(1).expand(1 << 20, 1 << 10)}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="does not lie in its storage"):
        read_state_dict(tmp_path / "a.pth")
