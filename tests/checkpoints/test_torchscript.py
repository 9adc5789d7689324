"""TorchScript archives of a stranger's are bounded before they are read."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from rsvl.checkpoints.torchscript import _Module, _tensor, read_torchscript


def archive(path: Path, program: bytes, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("m/constants.pkl", b"")
        file.writestr("m/data.pkl", program)
    return path


def test_scripted_module_gives_its_tensors(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Sequential(torch.nn.Linear(2, 1)))
    torch.jit.script(module).save(tmp_path / "m.pt")
    found = read_torchscript(tmp_path / "m.pt")
    assert found.keys() == module.state_dict().keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in module.state_dict().items())


def test_modules_that_share_children_end(tmp_path: Path) -> None:
    top = _Module()
    top.attributes = {}
    for _ in range(41):
        parent = _Module()
        parent.attributes = {"a": top, "b": top}
        top = parent
    with pytest.raises(pickle.UnpicklingError, match="more than 100000 modules"):
        top.tensors()


def test_memo_of_gigabytes_is_refused(tmp_path: Path) -> None:
    program = b"\x80\x02Nr" + (1 << 28).to_bytes(4, "little") + b"."
    with pytest.raises(pickle.UnpicklingError, match="places"):
        read_torchscript(archive(tmp_path / "m.pt", program))


def test_compressed_tensors_are_refused(tmp_path: Path) -> None:
    with pytest.raises(pickle.UnpicklingError, match="compressed"):
        read_torchscript(archive(tmp_path / "m.pt", b"\x80\x02N.", zipfile.ZIP_DEFLATED))


def test_tensor_larger_than_its_storage_is_refused() -> None:
    with pytest.raises(pickle.UnpicklingError, match="from 1 numbers"):
        _tensor(torch.zeros(1), 0, (1 << 30,), (0,))
