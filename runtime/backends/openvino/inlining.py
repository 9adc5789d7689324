"""A graph whose custom operations are replaced by their bodies, for a reader that does not know functions of a model.

Nodes and names alone are rewritten; weights beside the graph stay where they are. onnx.proto's field numbers are
written here, as the runtime has no onnx. `rsvl.runtime.graph_file` has checked the graph: functions are of the domain
``rsvl`` and call none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from rsvl.runtime.graph_file import OWN_DOMAIN
from rsvl.runtime.protobuf import BYTES, Field, Value, numbers, read_fields, texts, write_fields

INLINED = "rsvl."
"""How the names of tensors begin that come from a body; the operation, the call's number and the name there follow."""

_OPSET, _GRAPH, _FUNCTION = 8, 7, 25  # ModelProto
_NODE, _INITIALIZER, _SPARSE, _VALUES = 1, 5, 15, (11, 12, 13)  # GraphProto; values: input, output, value_info
_INPUT, _OUTPUT, _NAME, _TYPE, _ATTRIBUTE, _DOMAIN, _OVERLOAD = 1, 2, 3, 4, 5, 7, 8  # NodeProto
_SUBGRAPH, _SUBGRAPHS, _REFERENCE = 6, 11, 21  # AttributeProto
_VALUE_NAME, _TENSOR_NAME = 1, 8  # ValueInfoProto, TensorProto
_F_NAME, _F_INPUT, _F_OUTPUT, _F_NODE, _F_OPSET, _F_DOMAIN, _F_OVERLOAD = 1, 4, 5, 7, 9, 10, 13  # FunctionProto

Rename = Callable[[str], str]


@dataclass(frozen=True)
class _Function:
    inputs: list[str]
    outputs: list[str]
    nodes: list[bytes]


def inline_functions(model: bytes) -> bytes:
    """An ONNX model of standard operators that computes what `model` does.

    Raises:
        ValueError: it is no model, or has functions as rsvl writes none.
    """
    fields = list(read_fields(model))
    functions = dict(_read_function(data) for number, _, data in fields if number == _FUNCTION)
    inliner = _Inliner(functions)
    kept = list[Field]()
    for number, kind, value in fields:
        if number == _GRAPH:
            kept.append((number, kind, inliner.graph(value, _same)))
        elif number != _FUNCTION and not (number == _OPSET and _opset(value)[0] == OWN_DOMAIN):
            kept.append((number, kind, value))
    kept += _missing_opsets(fields)
    return write_fields(kept)


class _Inliner:
    """Rewrites graphs; counts calls, so that each body's names are its own."""

    def __init__(self, functions: dict[tuple[str, str], _Function]) -> None:
        self._functions = functions
        self._calls = 0

    def graph(self, data: Value, rename: Rename) -> bytes:
        fields = list[Field]()
        for number, kind, value in read_fields(_bytes(data)):
            if number == _NODE:
                fields += [(_NODE, BYTES, node) for node in self.nodes(value, rename)]
            elif rename is not _same and number in _VALUES:
                fields.append((number, kind, _with_names(value, {_VALUE_NAME}, rename)))
            elif rename is not _same and number == _INITIALIZER:
                fields.append((number, kind, _with_names(value, {_TENSOR_NAME}, rename)))
            elif rename is not _same and number == _SPARSE:
                raise ValueError("a body with sparse weights")
            else:
                fields.append((number, kind, value))
        return write_fields(fields)

    def nodes(self, data: Value, rename: Rename) -> Iterator[bytes]:
        """A node under its new names; of one of rsvl's operations, the nodes of its body."""
        fields = list(read_fields(_bytes(data)))
        found: list[Field] = [
            (n, kind, _name(value, rename) if n in (_INPUT, _OUTPUT) else self._attribute(n, value, rename))
            for n, kind, value in fields
        ]
        if _text(fields, _DOMAIN) != OWN_DOMAIN:
            yield write_fields(found)
            return
        operation = _text(fields, _TYPE)
        function = self._functions.get((operation, _text(fields, _OVERLOAD)))
        if function is None:
            raise ValueError(f"the operation {operation} has no body")
        self._calls += 1
        inside = _renaming(function, found, f"{INLINED}{operation}.{self._calls}.")
        for node in function.nodes:
            yield from self.nodes(node, inside)

    def _attribute(self, number: int, value: Value, rename: Rename) -> Value:
        if number != _ATTRIBUTE:
            return value
        fields = list[Field]()
        for n, kind, each in read_fields(_bytes(value)):
            if n == _REFERENCE:
                raise ValueError("a body that takes attributes of its node")
            fields.append((n, kind, self.graph(each, rename) if n in (_SUBGRAPH, _SUBGRAPHS) else each))
        return write_fields(fields)


def _renaming(function: _Function, node: list[Field], prefix: str) -> Rename:
    """What the names of a body become: its inputs and outputs the node's, all others new."""
    given, taken = texts(node, _INPUT), texts(node, _OUTPUT)
    given += [""] * (len(function.inputs) - len(given))  # what a node leaves out at its end is left out in the body
    known = dict(zip(function.inputs, given, strict=True))
    known |= {inner: outer for inner, outer in zip(function.outputs, taken, strict=False) if outer}
    return lambda name: known[name] if name in known else name and prefix + name


def _read_function(data: Value) -> tuple[tuple[str, str], _Function]:
    fields = list(read_fields(_bytes(data)))
    if _text(fields, _F_DOMAIN) != OWN_DOMAIN:
        raise ValueError("a function that is not rsvl's")
    nodes = [bytes(_bytes(value)) for number, _, value in fields if number == _F_NODE]
    key = _text(fields, _F_NAME), _text(fields, _F_OVERLOAD)
    return key, _Function(texts(fields, _F_INPUT), texts(fields, _F_OUTPUT), nodes)


def _missing_opsets(fields: list[Field]) -> list[Field]:
    """The operator sets that the functions use and the model does not name.

    Raises:
        ValueError: a function uses another version than the model.
    """
    known = dict(_opset(value) for number, _, value in fields if number == _OPSET)
    functions = [read_fields(_bytes(value)) for number, _, value in fields if number == _FUNCTION]
    added = list[Field]()
    for opset in [value for function in functions for number, _, value in function if number == _F_OPSET]:
        domain, version = _opset(opset)
        if domain not in known:
            known[domain] = version
            added.append((_OPSET, BYTES, opset))
        elif known[domain] != version:
            raise ValueError(f"a body of opset {version} in a graph of opset {known[domain]}")
    return added


def _same(name: str) -> str:
    return name


def _with_names(data: Value, numbers: set[int], rename: Rename) -> bytes:
    return write_fields((n, kind, _name(v, rename) if n in numbers else v) for n, kind, v in read_fields(_bytes(data)))


def _name(value: Value, rename: Rename) -> bytes:
    return rename(bytes(_bytes(value)).decode()).encode()


def _text(fields: Iterable[Field], number: int) -> str:
    """A field's text; empty where it is not set."""
    return "".join(texts(fields, number)[-1:])


def _opset(data: Value) -> tuple[str, int]:
    """Domain and version of an OperatorSetIdProto."""
    fields = list(read_fields(_bytes(data)))
    return _text(fields, 1), sum(numbers(fields, 2)[-1:])


def _bytes(value: Value) -> memoryview | bytes:
    if isinstance(value, int):
        raise ValueError("a number in the place of a message")
    return value
