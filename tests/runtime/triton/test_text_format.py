"""Protobuf's text format is what protobuf reads."""

from __future__ import annotations

import pytest

from rsvl.runtime.triton.text_format import EnumValue, to_text

text_format = pytest.importorskip("google.protobuf.text_format")
descriptor = pytest.importorskip("google.protobuf.descriptor_pb2")


def test_fields_of_every_kind_are_read_by_protobuf() -> None:
    message = {
        "name": 'a "quoted" \\ name, é',
        "field": [
            {"name": "x", "number": 1, "type": EnumValue("TYPE_INT64")},
            {"name": "y", "number": 2, "type": EnumValue("TYPE_STRING")},
        ],
        "options": {"deprecated": EnumValue("true")},
        "reserved_name": [],
    }
    read = text_format.Parse(to_text(message), descriptor.DescriptorProto())
    assert read.name == 'a "quoted" \\ name, é'
    assert [(f.name, f.number, f.type) for f in read.field] == [("x", 1, 3), ("y", 2, 9)]
    assert read.options.deprecated


@pytest.mark.parametrize("numbers", [(), (4,), (3, -1)])
def test_tuples_are_lists_of_numbers(numbers: tuple[int, ...]) -> None:
    read = text_format.Parse(to_text({"path": numbers}), descriptor.SourceCodeInfo.Location())
    assert tuple(read.path) == numbers
