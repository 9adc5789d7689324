"""Reading a graph for OpenVINO: custom operations replaced by their bodies, weights mapped and not copied.

OpenVINO's reader does not know functions of a model (2026.4), so `rsvl.runtime.backends.openvino.inlining` expands
them. It maps external weights only where they lie beside the file that it is given, and keeps all of their pages in
memory once it has packed its own copy. So the graph is read from memory, each weight beside it as an input, and these
become constants that share a mapping of ours: `Weights.release` gives its pages back.
"""

from __future__ import annotations

import math
import mmap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rsvl.runtime.backends.openvino.inlining import inline_functions
from rsvl.runtime.protobuf import BYTES, VARINT, Field, numbers, read_fields, texts, write_fields

_GRAPH, _INITIALIZER, _INPUT = 7, 5, 11  # ModelProto; GraphProto
_DIMS, _TYPE, _NAME, _EXTERNAL, _LOCATION = 1, 2, 8, 13, 14  # TensorProto
_BESIDE = 1
"""TensorProto.DataLocation of external values."""
_DTYPES = {1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 10: "float16", 11: "float64"}
"""TensorProto.DataType → NumPy."""


@dataclass
class Weights:
    """The files of weights that a model shares with the page cache."""

    maps: dict[str, mmap.mmap] = field(default_factory=dict)

    def array(self, folder: Path, tensor: _External) -> np.ndarray:
        """A weight, mapped.

        Raises:
            ValueError: it does not lie within its file.
            OSError: the file cannot be read.
        """
        if tensor.location not in self.maps:
            with (folder / tensor.location).open("rb") as file:
                # Copied on write, as OpenVINO takes no array that is read-only; nobody writes.
                self.maps[tensor.location] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        count = math.prod(tensor.shape)
        return np.frombuffer(self.maps[tensor.location], tensor.dtype, count, tensor.offset).reshape(tensor.shape)

    def release(self) -> None:
        """Takes the pages out of this process's memory; whoever needs one reads it from the file again."""
        for mapped in self.maps.values():
            if hasattr(mmap, "MADV_DONTNEED"):  # not on Windows
                mapped.madvise(mmap.MADV_DONTNEED)


@dataclass(frozen=True)
class _External:
    """A weight beside the graph."""

    name: str
    type: int
    shape: tuple[int, ...]
    location: str
    offset: int

    @property
    def dtype(self) -> np.dtype[Any]:
        if self.type not in _DTYPES:
            raise ValueError(f"the weight {self.name} is of an unknown type")
        return np.dtype(_DTYPES[self.type])


def read_model(core: Any, graph: Path) -> tuple[Any, Weights]:
    """Reads a graph.

    Args:
        core: an `openvino.Core`.
        graph: an ONNX file that `rsvl.runtime.bundle.Bundle.graph` has checked; its weights lie where it says.

    Returns:
        An `openvino.Model`, and the weights that it shares, to be released once it is compiled.

    Raises:
        Exception: as OpenVINO raises them; ValueError and OSError for what is wrong with the files.
    """
    text, external = _split_weights(inline_functions(graph.read_bytes()))
    model, weights = core.read_model(text, b""), Weights()
    for parameter in list(model.get_parameters()):
        tensor = external.get(parameter.get_friendly_name())
        if tensor is not None:
            parameter.output(0).replace(_constant(weights.array(graph.parent, tensor)))
            model.remove_parameter(parameter)
    return model, weights


def _constant(array: np.ndarray) -> Any:
    from openvino import op

    return op.Constant(array, shared_memory=True).output(0)


def _split_weights(model: bytes) -> tuple[bytes, dict[str, _External]]:
    """A model whose external weights are inputs, and these weights by name."""
    external: dict[str, _External] = {}
    fields = [
        (number, kind, _with_inputs(value, external) if number == _GRAPH else value)
        for number, kind, value in read_fields(model)
    ]
    return write_fields(fields), external


def _with_inputs(graph: Any, external: dict[str, _External]) -> bytes:
    fields = list[Field]()
    for number, kind, value in read_fields(graph):
        tensor = _read_external(value) if number == _INITIALIZER else None
        if tensor is None:
            fields.append((number, kind, value))
        else:
            external[tensor.name] = tensor
            fields.append((_INPUT, BYTES, _input(tensor)))
    return write_fields(fields)


def _read_external(data: Any) -> _External | None:
    """A weight whose values lie beside the graph; None for one that has them."""
    fields = list(read_fields(data))
    if numbers(fields, _LOCATION) != [_BESIDE]:
        return None
    entries = [
        list(read_fields(value)) for number, _, value in fields if number == _EXTERNAL and not isinstance(value, int)
    ]
    said = {"".join(texts(entry, 1)): "".join(texts(entry, 2)) for entry in entries}
    return _External(
        name="".join(texts(fields, _NAME)),
        type=sum(numbers(fields, _TYPE)),
        shape=tuple(numbers(fields, _DIMS)),
        location=said.get("location", ""),
        offset=int(said.get("offset") or 0),
    )


def _input(tensor: _External) -> bytes:
    """A ValueInfoProto: name, and type → tensor type → element type, and shape → dimensions → value."""

    def message(number: int, fields: list[Field]) -> Field:
        return number, BYTES, write_fields(fields)

    shape = message(2, [message(1, [(1, VARINT, size)]) for size in tensor.shape])
    kind = message(2, [message(1, [(1, VARINT, tensor.type), shape])])
    return write_fields([(1, BYTES, tensor.name.encode()), kind])
