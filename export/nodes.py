"""Walking an ONNX graph."""

from __future__ import annotations

from collections.abc import Iterator

import onnx


def every_node(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph and of the graphs in their attributes (branches and loop bodies)."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs]:
                yield from every_node(inner)
