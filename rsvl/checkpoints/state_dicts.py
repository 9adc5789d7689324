"""Reads a checkpoint's tensors by name, whatever the file's format and however they are wrapped."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from rsvl.checkpoints.torchscript import is_torchscript, read_torchscript
from rsvl.runtime.errors import CheckpointError

# What a Hugging Face directory holds, best first; an index names the shards.
_DIRECTORY_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "open_clip_model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "open_clip_pytorch_model.bin",
)
_WRAPPERS = ("state_dict", "model_state_dict", "model", "module")
_PREFIXES = ("module.", "_orig_mod.")  # left by data-parallel training and by torch.compile
_SAVE_PLAIN = "save its tensors alone, with safetensors.torch.save_file(model.state_dict(), …)"


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        path: its file or directory.
        tensors: by the names that it gives them.
        metadata: the strings saved beside them (`read_metadata`).
    """

    path: Path
    tensors: dict[str, Tensor]
    metadata: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        written_for = self.metadata.get("rsvl_model")
        return f"{self.path} ({written_for})" if written_for else str(self.path)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Reads a checkpoint's tensors, on the CPU in the dtypes they were saved in, and what is saved beside them.

    Formats, told apart by content: safetensors; PyTorch files, read with ``weights_only=True``; TorchScript archives
    (OpenAI's releases), of which only the tensors are read; Hugging Face directories, sharded or not. A state dict
    nested under ``state_dict``, ``model_state_dict``, ``model`` or ``module`` is taken out, and a ``module.`` or
    ``_orig_mod.`` in front of every key is taken off. What is not a tensor is left out.

    Raises:
        CheckpointError: missing, truncated, of another type, holding no tensors, or needing code to be run.
    """
    tensors: dict[str, Tensor] = {}
    metadata: dict[str, str] = {}
    for file in weight_files(path):
        data, beside = _read_file(file)
        tensors.update(_plain_tensors(data, file))
        metadata.update(beside)
    return Checkpoint(Path(path), _without_prefix(tensors), metadata)


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The tensors of `read_checkpoint`.

    Examples:
        >>> from safetensors.torch import save_file
        >>> save_file({"layer.weight": torch.ones(2, 3)}, "plain.safetensors")
        >>> {name: list(tensor.shape) for name, tensor in read_state_dict("plain.safetensors").items()}
        {'layer.weight': [2, 3]}
    """
    return read_checkpoint(path).tensors


def read_metadata(path: str | Path) -> dict[str, str]:
    """The strings saved with a safetensors file, such as `rsvl_model`; empty for any other checkpoint."""
    path = Path(path)
    if not path.is_file() or not _is_safetensors(path):
        return {}
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except SafetensorError as error:
        raise _damaged(path, error) from error


def weight_files(path: str | Path) -> list[Path]:
    """The files that hold the weights of a checkpoint: the file itself, or those of a Hugging Face directory.

    Raises:
        CheckpointError: nothing there, or a directory without weights or with an index that cannot be used.
    """
    path = Path(path)
    if not path.exists():
        raise CheckpointError(f"{path} does not exist: give a checkpoint file or a Hugging Face directory")
    if not path.is_dir():
        return [path]
    found = next((path / name for name in _DIRECTORY_FILES if (path / name).is_file()), None)
    if found is None:
        raise CheckpointError(f"{path} holds no weights: expected {_DIRECTORY_FILES[0]} or {_DIRECTORY_FILES[3]} in it")
    return _shards(found) if found.suffix == ".json" else [found]


def _shards(index: Path) -> list[Path]:
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(index, error) from error
    for name in names:
        if name != Path(name).name or not (index.parent / name).is_file():
            raise CheckpointError(f"{index} names {name}, which is not in its directory: download all of its shards")
    return [index.parent / name for name in names]


def _read_file(path: Path) -> tuple[Any, dict[str, str]]:
    """What a file holds, and the strings beside it."""
    try:
        if _is_safetensors(path):
            with safe_open(path, framework="pt") as file:
                return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
        if is_torchscript(path):
            return read_torchscript(path), {}
        return torch.load(path, map_location="cpu", weights_only=True), {}
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)|names ([\w.]+)", str(error))
        if named is None:
            raise _damaged(path, ValueError("not a PyTorch file of tensors")) from error
        raise CheckpointError(
            f"{path} needs {named[1] or named[2]} to be run on loading, which is refused: {_SAVE_PLAIN}"
        ) from None
    except Exception as error:  # a damaged file can make the readers raise almost anything
        raise _damaged(path, error) from error


def _is_safetensors(path: Path) -> bool:
    # The format: the header's length as 8 bytes, then the header, a JSON object.
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def _damaged(path: Path, error: Exception) -> CheckpointError:
    reason = (str(error).splitlines() or [""])[0][:160] or type(error).__name__
    return CheckpointError(f"{path} cannot be read as a checkpoint ({reason}): it is damaged or of another type")


def _plain_tensors(data: Any, path: Path) -> dict[str, Tensor]:
    while isinstance(data, Mapping) and (
        inner := next((w for w in _WRAPPERS if isinstance(data.get(w), Mapping)), None)
    ):
        data = data[inner]
    tensors = {k: v for k, v in data.items() if isinstance(v, Tensor)} if isinstance(data, Mapping) else {}
    if not tensors or not all(isinstance(key, str) for key in tensors):
        raise CheckpointError(f"{path} holds no named tensors: {_SAVE_PLAIN}")
    return tensors


def _without_prefix(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in _PREFIXES:
        if all(key.startswith(prefix) for key in tensors):
            return _without_prefix({key.removeprefix(prefix): value for key, value in tensors.items()})
    return tensors
