"""Reads a file that `torch.save` wrote as data: its containers and tensors, and nothing that its pickle names.

A checkpoint's pickle may name any class: a training's options (an argparse Namespace), a NumPy scalar, or a whole
module of a package that is not here (Ultralytics saves models so). Such names become inert records, which keep what
they are given and call nothing; tensors are rebuilt by functions of this file. What a pickle names of Python's own
library, and no checkpoint needs, is refused by its name. A tensor's bytes are read only when it is asked for, so that
an optimizer's stay on the disk.
"""

from __future__ import annotations

import math
import pickle
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rsvl.checkpoints.torchscript import STORAGE_DTYPES, check_memo

MAX_PICKLE = 256 << 20
"""Most bytes of the pickle beside the tensors; published checkpoints have under a megabyte."""

_HARMLESS = {"argparse", "collections", "datetime", "enum", "functools", "pathlib", "types", "uuid"}
"""Modules of Python's own library whose objects checkpoints hold, as inert records here."""


def is_torch_zip(path: Path) -> bool:
    """Whether the file is a ZIP of `torch.save`, TorchScript archives among them."""
    return zipfile.is_zipfile(path) and _pickle_entry(path) is not None


def read_torch_zip(path: Path) -> Any:
    """What the file holds: containers, plain values, `StoredTensor`s and `Record`s.

    Raises:
        pickle.UnpicklingError: it names something of Python's own library that no checkpoint needs.
        Exception: whatever a damaged archive provokes in `zipfile` and `pickle`; the caller reports it.
    """
    entry = _pickle_entry(path)
    assert entry is not None
    with zipfile.ZipFile(path) as archive:
        if entry.file_size > MAX_PICKLE:
            raise pickle.UnpicklingError(f"its pickle has {entry.file_size >> 20} MiB")
        data = archive.read(entry)
        check_memo(data)
        with archive.open(entry) as stream:
            return _Unpickler(stream, path, entry.filename.removesuffix("data.pkl") + "data/").load()


@dataclass(frozen=True)
class StoredTensor:
    """A tensor that lies in a file: its place in a storage, not its values."""

    path: Path
    entry: str
    dtype: torch.dtype
    count: int
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def read(self) -> Tensor:
        """The tensor, on the CPU in its own dtype.

        Raises:
            ValueError: it reaches outside its storage, or is larger than that.
        """
        last = self.offset + sum((n - 1) * step for n, step in zip(self.size, self.stride, strict=True))
        numbers = math.prod(self.size)
        if not numbers:
            return torch.empty(self.size, dtype=self.dtype)
        if min(self.offset, *self.size, *self.stride, 0) < 0 or last >= self.count or numbers > self.count:
            raise ValueError(f"a tensor of {list(self.size)} does not lie in its storage of {self.count}")
        with zipfile.ZipFile(self.path) as archive:
            info = archive.getinfo(self.entry)
            if info.file_size != self.count * self.dtype.itemsize:
                raise ValueError(f"{self.entry} has {info.file_size} bytes, not {self.count * self.dtype.itemsize}")
            storage = torch.frombuffer(bytearray(archive.read(info)), dtype=self.dtype, count=self.count)
        return torch.as_strided(storage, self.size, self.stride, self.offset).clone()


class Record:
    """Stands for an object of any class: keeps what it is given and calls nothing.

    Attributes:
        named: the class that the file names, dotted.
        state: its attributes, as far as the file gives them as a dictionary.
    """

    named = ""
    state: dict[str, Any]

    def __new__(cls, *_: Any, **__: Any) -> Record:
        record = super().__new__(cls)
        record.state = {}
        return record

    def __init__(self, *_: Any, **__: Any) -> None:
        """Takes any arguments."""

    def __setstate__(self, state: Any) -> None:
        parts = state if isinstance(state, tuple) else (state,)
        for part in parts:
            if isinstance(part, dict):
                self.state.update((key, value) for key, value in part.items() if isinstance(key, str))

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(key, str):
            self.state[key] = value

    def append(self, _: Any) -> None:
        """Keeps nothing of a list."""

    def extend(self, _: Any) -> None:
        """Keeps nothing of a list."""

    def add(self, _: Any) -> None:
        """Keeps nothing of a set."""


def state_dict_of(module: Record) -> dict[str, StoredTensor]:
    """The state dict of a saved module: its persistent parameters and buffers by dotted name."""
    return dict(_tensors_of(module, "", set()))


def is_module(value: Any) -> bool:
    """Whether a record is a module of PyTorch."""
    return isinstance(value, Record) and {"_parameters", "_modules"} <= value.state.keys()


def _tensors_of(module: Record, prefix: str, seen: set[int]) -> Iterator[tuple[str, StoredTensor]]:
    if id(module) in seen:
        return
    seen.add(id(module))
    passing = module.state.get("_non_persistent_buffers_set")
    left_out = passing if isinstance(passing, Sequence) else ()
    for kind in ("_parameters", "_buffers"):
        for name, tensor in _items(module.state.get(kind)):
            if isinstance(tensor, StoredTensor) and not (kind == "_buffers" and name in left_out):
                yield prefix + name, tensor
    for name, child in _items(module.state.get("_modules")):
        if is_module(child):
            yield from _tensors_of(child, f"{prefix}{name}.", seen)


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        yield from ((key, each) for key, each in value.items() if isinstance(key, str))


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: Any, path: Path, data: str) -> None:
        super().__init__(stream)
        self._path, self._data = path, data
        self._records: dict[str, type[Record]] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module in ("torch", "torch.storage") and (name in STORAGE_DTYPES or name == "UntypedStorage"):
            return STORAGE_DTYPES.get(name, torch.uint8)
        found = _REBUILT.get((module, name))
        if found is not None:
            return found
        top = module.partition(".")[0]
        if top in ("builtins", "__builtin__") or (top in sys.stdlib_module_names and top not in _HARMLESS):
            raise pickle.UnpicklingError(f"the file names {module}.{name}")
        dotted = f"{module}.{name}"
        if dotted not in self._records:
            self._records[dotted] = type("Record", (Record,), {"named": dotted})
        return self._records[dotted]

    def persistent_load(self, pid: Any) -> Any:
        _, dtype, key, _, count = pid
        if not isinstance(key, str) or "/" in key or not isinstance(dtype, torch.dtype):
            raise pickle.UnpicklingError("a storage has no plain name or type")
        return self._path, self._data + key, dtype, int(count)


def _tensor(storage: Any, offset: int, size: Any, stride: Any, *_: Any) -> StoredTensor:
    path, entry, dtype, count = storage
    return StoredTensor(path, entry, dtype, count, int(offset), tuple(size), tuple(stride))


def _typed_tensor(storage: Any, offset: int, size: Any, stride: Any, _: Any, __: Any, dtype: Any, *___: Any) -> Any:
    path, entry, _, length = storage
    known = getattr(torch, str(getattr(dtype, "named", "")).removeprefix("torch."), None)
    if not isinstance(known, torch.dtype):
        return Record()
    return StoredTensor(path, entry, known, length // known.itemsize, int(offset), tuple(size), tuple(stride))


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


def _subclass(function: Any, _: Any, arguments: Any, *__: Any) -> Any:
    return function(*arguments) if function in _REBUILDERS else Record()


def _values(values: Any = (), *_: Any) -> list[Any]:
    """A set, as a list: what it holds may be a record."""
    return list(values) if isinstance(values, list | tuple) else []


def _nothing(*_: Any) -> None:
    """What is left out: bytes, strings in other encodings, arrays."""


def _blank(kind: Any, *_: Any) -> Any:
    return kind() if isinstance(kind, type) and issubclass(kind, Record) else Record()


def _dictionary(*arguments: Any) -> OrderedDict[Any, Any]:
    pairs = arguments[-1] if arguments and isinstance(arguments[-1], dict | list) else ()
    return OrderedDict(pairs)


_REBUILDERS: set[Callable[..., Any]] = {_tensor, _typed_tensor, _parameter}

_REBUILT: dict[tuple[str, str], Any] = {
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _typed_tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _subclass,
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "defaultdict"): _dictionary,
    ("collections", "Counter"): _dictionary,
    ("copyreg", "_reconstructor"): _blank,
    ("copy_reg", "_reconstructor"): _blank,
    ("_codecs", "encode"): _nothing,
    **{(module, name): _values for module in ("builtins", "__builtin__") for name in ("set", "frozenset")},
    **{
        (module, name): _nothing for module in ("builtins", "__builtin__") for name in ("bytes", "bytearray", "complex")
    },
    **{
        (module, name): Record
        for module in ("builtins", "__builtin__")
        for name in ("object", "list", "dict", "tuple", "int", "float", "str", "bool", "slice")
    },
}


def _pickle_entry(path: Path) -> zipfile.ZipInfo | None:
    with zipfile.ZipFile(path) as archive:
        return next((info for info in archive.infolist() if info.filename.endswith("/data.pkl")), None)
