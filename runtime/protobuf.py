"""The wire format of protobuf, read and written field by field; the runtime has no onnx."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_WIDTH = {FIXED64: 8, FIXED32: 4}

Value: TypeAlias = "int | memoryview | bytes"
"""An integer for a varint, the bytes of all others."""
Field: TypeAlias = tuple[int, int, Value]
"""Number, wire type and value."""


def read_fields(data: memoryview | bytes) -> Iterator[Field]:
    """The fields of a message in order; bytes are views of `data`, not copies.

    Raises:
        ValueError: it is cut short or no message.
    """
    view, position = memoryview(data), 0
    while position < len(view):
        tag, position = _read_varint(view, position)
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            value, position = _read_varint(view, position)
            yield number, kind, value
            continue
        if kind == BYTES:
            length, position = _read_varint(view, position)
        elif kind in _WIDTH:
            length = _WIDTH[kind]
        else:
            raise ValueError("not a protobuf message")
        if length > len(view) - position:
            raise ValueError("a protobuf message that is cut short")
        yield number, kind, view[position : position + length]
        position += length


def write_fields(fields: Iterable[Field]) -> bytes:
    """A message of these fields."""
    parts = list[bytes | memoryview]()
    for number, kind, value in fields:
        parts.append(_varint(number << 3 | kind))
        if isinstance(value, int):
            parts.append(_varint(value))
            continue
        if kind == BYTES:
            parts.append(_varint(len(value)))
        parts.append(value)
    return b"".join(parts)


def texts(fields: Iterable[Field], number: int) -> list[str]:
    """The values of a field of strings.

    Raises:
        ValueError: one is no text.
    """
    return [bytes(value).decode() for n, _, value in fields if n == number and not isinstance(value, int)]


def numbers(fields: Iterable[Field], number: int) -> list[int]:
    """The values of a field of integers, each by itself or packed together.

    Raises:
        ValueError: it is cut short.
    """
    found = list[int]()
    for n, _, value in fields:
        if n != number:
            continue
        if isinstance(value, int):
            found.append(value)
        else:
            view, position = memoryview(value), 0
            while position < len(view):
                each, position = _read_varint(view, position)
                found.append(each)
    return found


def _read_varint(view: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(view):
            raise ValueError("a protobuf message that is cut short")
        byte = view[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("not a protobuf message")


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
