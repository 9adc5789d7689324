"""Protobuf's text format, in which Triton reads a model's configuration; the runtime has no protobuf."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias


class EnumValue(str):
    """The name of an enumeration's value, which is written without quotes."""

    __slots__ = ()


Message: TypeAlias = "Mapping[str, Value]"
"""Fields by name: a list of messages repeats the field, a tuple of numbers is one list."""
Value: TypeAlias = "str | int | tuple[int, ...] | Message | Sequence[Message]"


def to_text(message: Message) -> str:
    """A message in text format, one field per line.

    Examples:
        >>> print(to_text({"name": "x", "data_type": EnumValue("TYPE_FP32"), "dims": (3, -1)}), end="")
        name: "x"
        data_type: TYPE_FP32
        dims: [ 3, -1 ]
    """
    return "".join(f"{line}\n" for line in _lines(message))


def _lines(message: Message) -> Iterator[str]:
    for name, value in message.items():
        if isinstance(value, Mapping):
            yield from _block(name, value)
        elif isinstance(value, list):
            for each in value:
                yield from _block(name, each)
        else:
            yield f"{name}: {_scalar(value)}"


def _block(name: str, message: Message) -> Iterator[str]:
    yield f"{name} {{"
    yield from (f"  {line}" for line in _lines(message))
    yield "}"


def _scalar(value: Value) -> str:
    if isinstance(value, EnumValue):
        return value
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)  # the same quotes and escapes
    if isinstance(value, tuple):
        return f"[ {', '.join(map(str, value))} ]" if value else "[ ]"
    return str(value)
