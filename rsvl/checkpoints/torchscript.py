"""Reads the tensors of a TorchScript archive, as which OpenAI publishes its CLIP models, without running its code.

`torch.load(weights_only=True)` refuses such archives, and `torch.jit.load` compiles the program they contain. But the
archive is a ZIP whose `data.pkl` lists each module's attributes and whose `data/` holds the tensors' bytes; only these
two are read here. The pickle's classes become plain records, its five harmless functions are replaced by ours, and any
other name that it asks for is refused, so that nothing of it is imported or called.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

STORAGE_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_MAX_MODULES = 100_000
_LIST_BUILDERS = {"build_intlist", "build_doublelist", "build_boollist", "build_tensorlist", "restore_type_tag"}


def is_torchscript(path: Path) -> bool:
    """Whether the file is a ZIP with a TorchScript program in it (a plain PyTorch checkpoint has no constants)."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Reads every parameter and buffer by its dotted name, on the CPU in its own dtype.

    Raises:
        pickle.UnpicklingError: the archive names something that a list of tensors does not need.
        Exception: whatever a damaged archive provokes in `zipfile`, `pickle` or torch; the caller reports it.
    """
    with zipfile.ZipFile(path) as archive:
        root = next(name.rpartition("/")[0] for name in archive.namelist() if name.endswith("/constants.pkl"))
        if any(entry.compress_type != zipfile.ZIP_STORED and _is_data(entry, root) for entry in archive.infolist()):
            raise pickle.UnpicklingError("its tensors are compressed, which PyTorch never does")
        program = archive.read(f"{root}/data.pkl")
        check_memo(program)
        module = _ModuleUnpickler(io.BytesIO(program), archive, f"{root}/data").load()
    if not isinstance(module, _Module):
        raise pickle.UnpicklingError(f"the archive holds a {type(module).__name__}, not a module")
    return dict(module.tensors())


def _is_data(entry: zipfile.ZipInfo, root: str) -> bool:
    return entry.filename.startswith(f"{root}/data")


def check_memo(program: bytes) -> None:
    """Refuses a pickle that asks for a memo of gigabytes: its places are counted from 0, one per object.

    Raises:
        pickle.UnpicklingError: it does.
    """
    for opcode, argument, _ in pickletools.genops(program):
        if opcode.name in {"PUT", "BINPUT", "LONG_BINPUT"} and int(argument or 0) > len(program):
            raise pickle.UnpicklingError(f"its pickle wants {argument} places")


class _Module:
    """Stands for any class of the archive: only its attributes are kept."""

    attributes: dict[str, Any]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.attributes = dict(state)

    def tensors(self, prefix: str = "") -> OrderedDict[str, Tensor]:
        """The tensors of this module and those below it by dotted name."""
        found: OrderedDict[str, Tensor] = OrderedDict()
        waiting, seen = [(prefix, self)], 0
        while waiting:
            place, module = waiting.pop(0)
            seen += 1
            if seen > _MAX_MODULES:  # modules that share children double with every level
                raise pickle.UnpicklingError(f"the archive has more than {_MAX_MODULES} modules")
            for name, value in module.attributes.items():
                if isinstance(value, Tensor):
                    found[place + name] = value
                elif isinstance(value, _Module):
                    waiting.append((f"{place}{name}.", value))
        return found


class _ModuleUnpickler(pickle.Unpickler):
    """Reads `data.pkl`; tensors' bytes come from `archive` under the folder `data`."""

    def __init__(self, file: Any, archive: zipfile.ZipFile, data: str) -> None:
        super().__init__(file)
        self._archive = archive
        self._data = data
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module == "__torch__" or module.startswith("__torch__."):
            return _Module
        if module == "torch" and name in STORAGE_DTYPES:
            return STORAGE_DTYPES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch.jit._pickle" and name in _LIST_BUILDERS:
            return _first
        raise pickle.UnpicklingError(f"the archive names {module}.{name}, which tensors do not need")

    def persistent_load(self, pid: Any) -> Tensor:
        _, dtype, key, _, count = pid
        if key not in self._storages:
            data = bytearray(self._archive.read(f"{self._data}/{key}"))
            self._storages[key] = (
                torch.frombuffer(data, dtype=dtype, count=count) if count else torch.empty(0, dtype=dtype)
            )
        return self._storages[key]


def _tensor(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    if math.prod(size) > storage.numel():  # strides of 0 make terabytes of one number
        raise pickle.UnpicklingError(f"a tensor of {list(size)} from {storage.numel()} numbers")
    # torch itself refuses a size and stride that reach outside the storage.
    return torch.as_strided(storage, size, stride, offset).clone()


def _first(value: Any, *_: Any) -> Any:
    return value
