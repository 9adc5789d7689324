"""What passes share that look for a pattern: asking what a node or a tensor is, and putting others in its place."""

from __future__ import annotations

import onnx_ir as ir


def is_node(node: ir.Node | None, op_type: str) -> bool:
    """Whether a node is a standard one of this type."""
    return node is not None and (node.domain, node.op_type) in (("", op_type), ("ai.onnx", op_type))


def only_user(value: ir.Value) -> ir.Node | None:
    """The node that alone takes a tensor, which is no output of the graph; None where others do."""
    uses = list(value.uses())
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None


def rank(value: ir.Value | None) -> int:
    """A tensor's number of dimensions; 0 where it is not known."""
    return 0 if value is None or value.shape is None else len(value.shape)


def dimension(value: ir.Value, axis: int) -> int | str | None:
    """A dimension's size, or the name of a dynamic one; None where it has none or is not known."""
    if value.shape is None or not -len(value.shape) <= axis < len(value.shape):
        return None
    found = value.shape[axis]
    return found if isinstance(found, int) else found.value


def size(value: ir.Value, axis: int) -> int:
    """A dimension's size; 0 where it is dynamic or not known."""
    found = dimension(value, axis)
    return found if isinstance(found, int) else 0


def number(value: ir.Value | None) -> float | None:
    """The value of a constant of one element; None for other tensors."""
    if value is None or value.const_value is None or value.const_value.size != 1:
        return None
    return float(value.const_value.numpy().ravel()[0])


def put_in_place(graph: ir.Graph, node: ir.Node, tape: ir.tape.Tape, old: ir.Value, new: ir.Value) -> None:
    """Lets what was recorded compute a tensor; the nodes that did are left for `RemoveUnusedNodesPass`.

    Args:
        graph: the graph.
        node: before which the new nodes come; they take over where in the model it is from.
        tape: the new nodes.
        old: the tensor.
        new: what is taken for it from now on, of the same shape and type.
    """
    new.shape, new.type = old.shape, old.type
    for added in tape.nodes:
        added.metadata_props.update(node.metadata_props)
    graph.insert_before(node, tape.nodes)
    if old.is_graph_output():
        new.name, old.name = old.name, f"{old.name}.replaced"
    old.replace_all_uses_with(new, replace_graph_outputs=True)
