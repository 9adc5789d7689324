"""Whether an ONNX file of a stranger's may be given to a library, found by walking its protobuf fields.

A library that is given a graph opens what the graph names: ONNX Runtime before 1.24 any file of the machine as weights,
OpenVINO and ONNX Runtime the location ``*/_ORT_MEM_ADDR_/*`` as an address in this process. And a few hundred bytes of
functions that call functions, or of a loop that never ends, keep a library busy for ever. The runtime has no onnx, so
the fields that matter are read here, by their numbers in onnx.proto; bytes of weights are skipped, not read.
"""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from rsvl.runtime import protobuf

Buffer: TypeAlias = "mmap.mmap | bytes"

OWN_DOMAIN = "rsvl"
_MAX_DEPTH = 16
_MAX_EXPANDED = 1_000_000
"""Nodes after all functions are expanded: the largest model that is known has some 5000."""

# onnx.proto: message → field number → the message that it holds.
_MESSAGES: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "external"},
    "external": {},
}
# onnx.proto: the strings that are read.
_STRINGS: dict[str, dict[int, str]] = {
    "function": {1: "name", 10: "domain", 13: "overload"},
    "node": {4: "op_type", 7: "domain"},
    "external": {1: "key", 2: "value"},
}


@dataclass
class _Found:
    """What a walk found.

    `functions` has their names with their overloads; `nodes` and `calls` count by name, overloads together. In `calls`
    are the own functions that are called, by caller: "" is the graph itself.
    """

    locations: set[str] = field(default_factory=set)
    functions: list[tuple[str, ...]] = field(default_factory=list)
    nodes: Counter[str] = field(default_factory=Counter)
    calls: dict[str, Counter[str]] = field(default_factory=dict)


def check_graph_file(path: Path, name: str, listed: Collection[str]) -> list[str]:
    """Checks a graph's file before a library sees it.

    Args:
        path: the file.
        name: its path in the bundle, with ``/``.
        listed: the paths of all of the bundle's files.

    Returns:
        The files of its weights, relative to its own folder, as it names them.

    Raises:
        ValueError: says in one phrase what is wrong: not an ONNX file, weights that lie outside of the bundle or in no
            listed file of it, functions of another domain than ``rsvl``, nested or of too many nodes, a loop without
            an end that can be known.
    """
    if not name.endswith(".onnx"):
        raise ValueError("a graph's name must end with .onnx")
    found = _Found()
    with _mapped(path) as data:
        _walk(data, 0, len(data), "model", found, "", 0)
    for location in sorted(found.locations):
        _check_location(location, name, listed)
    if len(set(found.functions)) != len(found.functions):
        raise ValueError("it defines a function twice")
    for caller, called in found.calls.items():
        if caller and any(found.nodes[function] for function in called):
            raise ValueError(f"its function {caller} calls functions: rsvl writes none that do")
    total = sum(found.nodes[function] * count for function, count in found.calls.get("", Counter()).items())
    if total + found.nodes[""] > _MAX_EXPANDED:
        raise ValueError(f"its functions expand to {total} nodes")
    return sorted(found.locations)


def _check_location(location: str, name: str, listed: Collection[str]) -> None:
    path = PurePosixPath(location)
    if path.is_absolute() or ".." in path.parts or any(c in location for c in "\\:\0*"):
        raise ValueError(f"its weights lie outside of the bundle ({location!r})")
    beside = (PurePosixPath(name).parent / path).as_posix()
    if beside not in listed:
        raise ValueError(f"its weights lie in {location!r}, which the manifest does not list")


def _walk(data: Buffer, start: int, end: int, message: str, found: _Found, function: str, depth: int) -> None:
    """Reads the message in data[start:end]; `function` is the one that it belongs to, "" for the main graph."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"its graphs are nested more than {_MAX_DEPTH} levels deep")
    children, strings = _MESSAGES[message], _STRINGS.get(message, {})
    texts: dict[str, list[str]] = {text: [] for text in strings.values()}
    inner: list[tuple[int, int, str]] = []
    for number, low, high in _fields(data, start, end):
        if number in children:
            inner.append((low, high, children[number]))
        elif number in strings:
            texts[strings[number]].append(_text(data[low:high]))
    if message == "function":
        function = _function(texts, found)
    elif message == "node":
        _node(texts, found, function)
    elif message == "external" and "location" in texts["key"]:
        found.locations.update(texts["value"] or [""])
    for low, high, child in inner:
        _walk(data, low, high, child, found, function, depth + (message in ("attribute", "function")))


def _function(texts: dict[str, list[str]], found: _Found) -> str:
    names, domains = texts["name"], texts["domain"]
    if len(names) != 1 or not names[0] or domains != [OWN_DOMAIN]:
        raise ValueError(f"it defines a function of the domain {', '.join(domains) or 'none'}: only rsvl's own may be")
    found.functions.append((names[0], *texts["overload"]))
    return names[0]


def _node(texts: dict[str, list[str]], found: _Found, function: str) -> None:
    found.nodes[function] += 1
    if "Loop" in texts["op_type"]:
        raise ValueError("it has a Loop, which may never end: export the model without loops")
    if any(domain == OWN_DOMAIN for domain in texts["domain"]):
        found.calls.setdefault(function, Counter()).update(texts["op_type"])


def _fields(data: Buffer, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of each length-delimited field; the others are stepped over."""
    try:
        for number, kind, low, high in protobuf.spans(data, start, end):
            if kind == protobuf.BYTES:
                yield number, low, high
    except protobuf.CutShortError:
        raise ValueError("it is cut short, or not an ONNX file") from None
    except ValueError:
        raise ValueError("it is not an ONNX file") from None


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("it has names that are not text") from None


@contextmanager
def _mapped(path: Path) -> Iterator[Buffer]:
    with path.open("rb") as file:
        if file.seek(0, 2) == 0:
            raise ValueError("it is empty")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data
