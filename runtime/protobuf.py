"""The wire format of protobuf, read and written field by field; the runtime has no onnx."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator
from typing import TypeAlias

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_WIDTH = {FIXED64: 8, FIXED32: 4}

Value: TypeAlias = "int | memoryview | bytes"
"""An integer for a varint, the bytes of all others."""
Field: TypeAlias = tuple[int, int, Value]
"""Number, wire type and value."""
Buffer: TypeAlias = "mmap.mmap | memoryview | bytes"
Span: TypeAlias = tuple[int, int, int, int]
"""Number, wire type, and where the value begins and ends."""


class CutShortError(ValueError):
    """A message ends before its last field does."""

    def __init__(self) -> None:
        super().__init__("a protobuf message that is cut short")


def spans(data: Buffer, start: int, end: int) -> Iterator[Span]:
    """Where the values of the fields of the message in data[start:end] lie, in order.

    Raises:
        CutShortError: it is cut short.
        ValueError: it is no message.
    """
    position = start
    while position < end:
        tag, position = _read_varint(data, position, end)
        number, kind = tag >> 3, tag & 7
        if number == 0 or kind not in (VARINT, BYTES, *_WIDTH):
            raise ValueError("not a protobuf message")
        if kind == VARINT:
            _, after = _read_varint(data, position, end)
        elif kind == BYTES:
            length, position = _read_varint(data, position, end)
            after = position + length
        else:
            after = position + _WIDTH[kind]
        if after > end:
            raise CutShortError
        yield number, kind, position, after
        position = after


def read_fields(data: memoryview | bytes) -> Iterator[Field]:
    """The fields of a message in order; bytes are views of `data`, not copies.

    Raises:
        ValueError: it is cut short or no message.
    """
    view = memoryview(data)
    for number, kind, start, end in spans(view, 0, len(view)):
        yield number, kind, _read_varint(view, start, end)[0] if kind == VARINT else view[start:end]


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
                each, position = _read_varint(view, position, len(view))
                found.append(each)
    return found


def _read_varint(data: Buffer, position: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= end:
            raise CutShortError
        byte = data[position]
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
