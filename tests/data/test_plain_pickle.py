"""The restricted unpickler: plain containers in any protocol, nothing else, and never a call."""

import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rsvl.data import plain_pickle
from rsvl.data.plain_pickle import load_plain_pickle
from rsvl.runtime.errors import DatasetError

PLAIN = [{"a": 1, "b": (2.5, None, True), "c": {"x", "y"}, "d": b"\x00\xff", "e": "Größe", "f": frozenset({1 << 70})}]


class _Call:
    """Pickles as a call of a function with arguments, as an attack does."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


def _write(path: Path, content: Any, protocol: int = 4) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol))
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_containers_are_read_in_every_protocol(tmp_path: Path, protocol: int) -> None:
    assert load_plain_pickle(_write(tmp_path / "p", PLAIN, protocol)) == PLAIN


@pytest.mark.parametrize(
    ("stored", "expected"),
    [(b"U\x06Gr\xc3\xbc\xc3\x9f.", "Grüß"), (b"U\x04Gr\xfc\xdf.", "Grüß"), (b"S'ship'\n.", "ship")],
)
def test_strings_of_python_2_are_text(tmp_path: Path, stored: bytes, expected: str) -> None:
    assert load_plain_pickle(_write(tmp_path / "p", stored)) == expected


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_pickle_that_would_run_code_does_not_run_it(tmp_path: Path, protocol: int) -> None:
    sign = tmp_path / "ran"
    attack = _Call(exec, f"open({str(sign)!r}, 'w').close()")
    pickle.loads(pickle.dumps(attack, protocol))
    assert sign.exists(), "the attack itself must work, or this test shows nothing"
    sign.unlink()
    with pytest.raises(DatasetError, match=r"names the global \w+\.exec"):
        load_plain_pickle(_write(tmp_path / "p", [attack], protocol))
    assert not sign.exists()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (np.int64(3), "numpy"),
        (OrderedDict(a=1), "collections.OrderedDict"),
        (Path("x"), "pathlib"),
        (_Call(getattr, {}, "__class__"), "builtins.getattr"),
    ],
)
def test_anything_but_plain_containers_is_refused_by_name(tmp_path: Path, content: Any, named: str) -> None:
    with pytest.raises(DatasetError, match=f"names the global {named}"):
        load_plain_pickle(_write(tmp_path / "p", content))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"not a pickle", id="text"),
        pytest.param(pickle.dumps(PLAIN)[:-9], id="truncated"),
        pytest.param(b"\x80\x04]" + b"r" + struct.pack("<I", 1 << 31) + b".", id="memo of two thousand million slots"),
        pytest.param(b"\x80\x04\x8d" + struct.pack("<Q", 1 << 40) + b"a.", id="string of a terabyte"),
        pytest.param(b"\x80\x02Pid\n.", id="persistent object"),
        pytest.param(b"c_codecs\nencode\n(Vabc\nVhex_codec\ntR.", id="another codec"),
    ],
)
def test_damaged_pickle_is_refused(tmp_path: Path, content: bytes) -> None:
    path = _write(tmp_path / "refs(unc).p", content)
    with pytest.raises(DatasetError, match=r"refs\(unc\)\.p"):
        load_plain_pickle(path)


def test_missing_and_oversized_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DatasetError, match="cannot be read"):
        load_plain_pickle(tmp_path / "absent")
    monkeypatch.setattr(plain_pickle, "MAX_BYTES", 8)
    with pytest.raises(DatasetError, match="more than"):
        load_plain_pickle(_write(tmp_path / "p", PLAIN))
