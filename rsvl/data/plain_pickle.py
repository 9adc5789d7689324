"""Reads a stranger's pickle without running anything of it: plain containers only.

A pickle is a program; ordinary loading lets it import and call whatever it names. Annotation files need none of that,
so this reader knows no global but the few spellings of `set`, `frozenset` and `bytes`, and refuses every other one by
its name.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from pathlib import Path
from typing import Any

from rsvl.runtime.errors import DatasetError

MAX_BYTES = 512 << 20
"""Largest file read: the public annotation files are under 30 MB, and objects take about ten times their pickle."""


def load_plain_pickle(path: Path) -> Any:
    """Reads a pickle made of list, tuple, dict, set, str, bytes, int, float, bool and None (any protocol).

    Strings that Python 2 wrote as bytes are read as UTF-8, or as Latin-1 where they are not UTF-8.

    Raises:
        DatasetError: missing, larger than `MAX_BYTES`, not a pickle, damaged, or containing anything but plain
            containers; nothing that the pickle names is imported or called.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise DatasetError(f"{path} has {size >> 20} MiB, more than the {MAX_BYTES >> 20} MiB that are read")
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error.strerror}): check the dataset's root") from error
    try:
        _check_memo(data)
        try:
            return _PlainUnpickler(io.BytesIO(data), encoding="utf-8").load()
        except UnicodeDecodeError:
            return _PlainUnpickler(io.BytesIO(data), encoding="latin1").load()
    except _ForbiddenGlobalError as error:
        raise DatasetError(
            f"{path} names the global {error}, which plain annotations never need: refusing it; "
            "save the file again from plain lists, dicts, strings and numbers"
        ) from None
    except (pickle.UnpicklingError, ValueError, EOFError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"{path} is not a readable pickle ({error}): download it again") from error
    except (MemoryError, OverflowError) as error:
        raise DatasetError(f"{path} asks for more memory than there is: it is damaged or hostile") from error


class _ForbiddenGlobalError(Exception):
    """The pickle names a global that is not a plain container; the message is its dotted name."""


def _latin1_bytes(text: str, encoding: str) -> bytes:
    # Python 3 writes bytes this way in protocols that Python 2 can read; no other codec is ever meant.
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes in the encoding {encoding!r}")
    return text.encode("latin1")


_ALLOWED = {
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("builtins", "bytes"): bytes,
    ("__builtin__", "set"): set,
    ("__builtin__", "frozenset"): frozenset,
    ("__builtin__", "bytes"): bytes,
    ("_codecs", "encode"): _latin1_bytes,
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise _ForbiddenGlobalError(f"{module}.{name}") from None

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to objects outside itself")


def _check_memo(data: bytes) -> None:
    """Refuses a memo index beyond the file's length: the reader allocates that many slots, whatever the file's size."""
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name in {"PUT", "BINPUT", "LONG_BINPUT"} and int(argument or 0) > len(data):
            raise pickle.UnpicklingError(f"memo index {argument} in {len(data)} bytes")
