"""Reads a checkpoint's tensors by name, whatever the file's format and however they are wrapped."""

from __future__ import annotations

import argparse
import json
import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from rsvl.checkpoints.configuration import read_configuration
from rsvl.checkpoints.recognised import BUNDLE, what_it_is
from rsvl.checkpoints.torch_zip import StoredTensor, is_module, is_torch_zip, read_torch_zip, state_dict_of
from rsvl.checkpoints.torchscript import is_torchscript, read_torchscript
from rsvl.modules.encoders.published import Configuration
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
_WRAPPERS = ("state_dict", "model_state_dict", "model", "module", "net", "network", "params")
AVERAGES = ("ema", "model_ema", "ema_model", "ema_state_dict", "model_ema_state_dict", "state_dict_ema", "params_ema")
"""Under what a moving average of the weights lies beside them, or alone."""

_APART = ("bert_model",)
"""Encoders that training code saves beside `model`: LAVT's."""

_PREFIXES = ("module.",)  # left by data-parallel training and by averaging
_WITHIN = re.compile(r"(^|\.)(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""What torch.compile, FSDP and activation checkpointing put before a submodule's own names."""

_COUNTERS = re.compile(r"(^|\.)(n_averaged|total_ops|total_params)$")
"""Entries of averaging and of profilers, which are no weights."""

_SAVE_PLAIN = "save its tensors alone, with safetensors.torch.save_file(model.state_dict(), …)"


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        path: its file or directory.
        tensors: by the names that it gives them.
        metadata: the strings saved beside them (`read_metadata`).
        configuration: what its publishers say of the model in files beside it.
    """

    path: Path
    tensors: dict[str, Tensor]
    metadata: dict[str, str] = field(default_factory=dict)
    configuration: Configuration = field(default_factory=lambda: Configuration(Path()))

    def __str__(self) -> str:
        written_for = self.metadata.get("rsvl_model")
        return f"{self.path} ({written_for})" if written_for else str(self.path)


def read_checkpoint(path: str | Path, ema: bool = False) -> Checkpoint:
    """Reads a checkpoint's tensors, on the CPU in the dtypes they were saved in, and what is saved beside them.

    Formats, told apart by content: safetensors; PyTorch files, as data only (`rsvl.checkpoints.torch_zip`), also of a
    whole saved module; TorchScript archives (OpenAI's releases), of which only the tensors are read; Hugging Face
    directories, sharded or not. A state dict nested under ``state_dict``, ``model_state_dict``, ``model``, ``module``,
    ``net``, ``network`` or ``params`` is taken out, a ``module.`` in front of every key is taken off, and so is what
    compiling, sharding and activation checkpointing put within it. A ``bert_model`` beside it is kept below that name.
    What is not a tensor is left out, and what is not asked for, such as an optimizer's state, is not read.

    Args:
        path: the file or directory.
        ema: take the moving average that lies beside the weights. Without, the weights are taken, and a warning says
            so; an average that lies alone is taken in any case.

    Raises:
        CheckpointError: missing, truncated, of another type, holding no tensors, or needing code to be run.
    """
    tensors: dict[str, Tensor] = {}
    metadata: dict[str, str] = {}
    for file in weight_files(path):
        data, beside = _read_file(file)
        tensors.update(_plain_tensors(data, file, ema))
        metadata.update(beside)
    return Checkpoint(Path(path), tensors, metadata, _configuration(Path(path)))


def _configuration(path: Path) -> Configuration:
    """What lies beside weights that are a folder, or a file by the name that it has in one."""
    if path.is_dir():
        return read_configuration(path)
    return read_configuration(path.parent) if path.name in _DIRECTORY_FILES else Configuration(path.parent)


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
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise CheckpointError(f"{path} is a pipe or device, which cannot be read as a checkpoint: give a file")
    found = next((path / name for name in _DIRECTORY_FILES if (path / name).is_file()), None)
    if found is None and (path / "manifest.json").is_file():
        raise CheckpointError(f"{path} is {BUNDLE}")
    if found is None:
        raise CheckpointError(
            f"{path} holds no weights: expected {_DIRECTORY_FILES[0]} or {_DIRECTORY_FILES[3]} in it{_trained(path)}"
        )
    return _shards(found) if found.suffix == ".json" else [found]


def _trained(folder: Path) -> str:
    """A hint where `rsvl train` wrote into a folder."""
    best = folder / "best.safetensors"
    return f"; give {best}, which rsvl train wrote" if best.is_file() else ", or the file that rsvl train wrote"


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
        other = what_it_is(path)
    except OSError as error:
        raise _damaged(path, error) from error
    if other is not None:
        raise CheckpointError(f"{path} cannot be read as a checkpoint: it is {other}")
    try:
        if _is_safetensors(path):
            with safe_open(path, framework="pt") as file:
                return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
        if is_torchscript(path):
            return read_torchscript(path), {}
        if is_torch_zip(path):
            data = read_torch_zip(path)
            return data, _saved_beside(data)
        with torch.serialization.safe_globals([argparse.Namespace]):  # a training's options: only filled, never called
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


def _saved_beside(data: Any) -> dict[str, str]:
    """The extra state in a `last.pt` of `rsvl train`, as it would lie beside the weights in safetensors."""
    extra = data.get("extra") if isinstance(data, Mapping) else None
    if not isinstance(extra, Mapping) or not isinstance(data.get("name"), str):
        return {}
    told = {key: value for key, value in extra.items() if isinstance(key, str) and isinstance(value, str)}
    return {**told, "rsvl_model": data["name"]}


def _is_safetensors(path: Path) -> bool:
    # The format: the header's length as 8 bytes, then the header, a JSON object.
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def _damaged(path: Path, error: Exception) -> CheckpointError:
    reason = (str(error).splitlines() or [""])[0][:160] or type(error).__name__
    return CheckpointError(f"{path} cannot be read as a checkpoint ({reason}): it is damaged or of another type")


def _plain_tensors(data: Any, path: Path, ema: bool) -> dict[str, Tensor]:
    tensors = _tensors_of(_unwrapped(data, path, ema))
    if not tensors:
        raise CheckpointError(f"{path} holds no named tensors: {_SAVE_PLAIN}")
    for name in _APART if isinstance(data, Mapping) else ():
        tensors |= {f"{name}.{key}": value for key, value in _tensors_of(data.get(name)).items()}
    try:
        return {key: value.read() if isinstance(value, StoredTensor) else value for key, value in tensors.items()}
    except Exception as error:  # a damaged archive can make its reader raise almost anything
        raise _damaged(path, error) from error


def _unwrapped(data: Any, path: Path, ema: bool) -> Mapping[Any, Any]:
    """The innermost state dict, a saved module's among them."""
    while isinstance(data, Mapping):
        averages = [name for name in AVERAGES if _is_state(data.get(name))]
        weights = [name for name in _WRAPPERS if _is_state(data.get(name))]
        if ema and not averages and not weights:
            raise CheckpointError(f"{path} holds no moving average of the weights: leave --ema out")
        if averages and weights and not ema:
            warnings.warn(
                f"{path}: the weights under {weights[0]} are taken, not their moving average under {averages[0]}; "
                "--ema takes that",
                stacklevel=5,
            )
        found = averages + weights if ema else weights + averages
        if not found:
            return data
        data, ema = data[found[0]], ema and not averages
    return state_dict_of(data) if is_module(data) else {}


def _is_state(value: Any) -> bool:
    return isinstance(value, Mapping) or is_module(value)


def _tensors_of(state: Any) -> dict[str, Any]:
    """The tensors in a state dict, by the names that they had when the training began."""
    if not isinstance(state, Mapping):
        return {}
    tensors = {key: value for key, value in state.items() if isinstance(value, Tensor | StoredTensor)}
    return without_wrappers(tensors) if all(isinstance(key, str) for key in tensors) else {}


def without_wrappers(tensors: dict[str, Any]) -> dict[str, Any]:
    """Entries by the names that they had before data-parallel training, compiling, sharding and profiling."""
    plain = {_WITHIN.sub(r"\1", key): value for key, value in tensors.items() if not _COUNTERS.search(key)}
    for prefix in _PREFIXES:
        if plain and all(key.startswith(prefix) for key in plain):
            return without_wrappers({key.removeprefix(prefix): value for key, value in plain.items()})
    return plain
