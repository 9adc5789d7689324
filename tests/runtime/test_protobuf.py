"""The wire format, against protobuf's own library."""

from __future__ import annotations

import pytest
from onnx import TensorProto, helper

from rsvl.runtime.protobuf import numbers, read_fields, texts, write_fields

DIMS = (1, 127, 128, 300, 2**31, 2**62)
TENSOR = helper.make_tensor("weight ä", TensorProto.DOUBLE, (2,), [1.5, -2.25])
TENSOR.dims[:] = DIMS


def test_fields_are_read_as_protobuf_writes_them() -> None:
    fields = list(read_fields(TENSOR.SerializeToString()))
    assert numbers(fields, TensorProto.DIMS_FIELD_NUMBER) == list(DIMS)
    assert numbers(fields, TensorProto.DATA_TYPE_FIELD_NUMBER) == [TensorProto.DOUBLE]
    assert texts(fields, TensorProto.NAME_FIELD_NUMBER) == ["weight ä"]
    assert numbers(fields, TensorProto.RAW_DATA_FIELD_NUMBER) == []


def test_packed_numbers_are_read_too() -> None:
    packed = TensorProto(int64_data=DIMS)  # this field is packed
    assert numbers(list(read_fields(packed.SerializeToString())), TensorProto.INT64_DATA_FIELD_NUMBER) == list(DIMS)


def test_written_fields_are_what_was_read() -> None:
    again = TensorProto.FromString(write_fields(read_fields(TENSOR.SerializeToString())))
    assert again == TENSOR


@pytest.mark.parametrize("data", [b"\x08", b"\x0a\x05abc", b"\x0b", b"\x08" + b"\xff" * 11, b"\x0d\x00"])
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="protobuf"):
        list(read_fields(data))
