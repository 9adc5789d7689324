"""What of a graph stays float32 where a bundle is computed in bfloat16, which has eight bits.

- The last products of an answer, as in an int8 bundle: near a logit of -4.6 the steps are 0.03, which move a whole
  mask's border.
- Angles, from the products that they come from to those that they enter: `rsvl::RotatedConv2d` is defined with float32
  angles. (In bfloat16 its turned kernels shrank every mask of `cd2fsan-tiny` a little.)
- Convolutions in Winograd's form, and what follows up to the next product: the form of a float32 graph multiplies
  rounding errors by ten.

OpenVINO has one type for all of a model, so a graph becomes several models that run one after the other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

_PRODUCTS = {"Convolution", "ConvolutionBackpropData", "GroupConvolution", "MatMul"}
"""What OpenVINO computes in bfloat16 for speed. What comes after the last of them it leaves in float32 by itself."""

_ANGLES = {"Sin", "Cos"}

_WINOGRAD = ("_inlfunc_RotatedConv2d_", "_inlfunc_WinogradConv2d_")
"""How names of tensors begin that ONNX Runtime takes from an operation's body, see
`rsvl.runtime.backends.openvino.reading`.

In a float16 graph its casts give them other names, rightly: the form there is F(2×2, 3×3) and may be bfloat16."""


def divide(model: Any, answers: Collection[str]) -> list[tuple[Any, bool]]:
    """Divides a model into parts that may be bfloat16 and parts that stay float32.

    Args:
        model: an `openvino.Model`; it is used up.
        answers: names of outputs, which may be none of the model's.

    Returns:
        Models in the order in which they run, and of each whether it stays float32. A tensor that a part takes from the
        model's inputs or from a part before it has the same name in both.
    """
    from openvino import Model
    from openvino.passes import ConstantFolding, Manager

    folding = Manager()
    folding.register_pass(ConstantFolding())  # sizes that are known are then no tensors to hand over
    folding.run_passes(model)
    sources = _varying(model)
    results = [node for node in sources if node.get_type_name() == "Result"]
    takers: dict[Any, list[Any]] = {node: [] for node in sources}
    for node, taken in sources.items():
        for source in taken:
            takers[source].append(node)
    answering = [result for result in results if not result.output(0).get_names().isdisjoint(answers)]
    angles = [node for node in sources if node.get_type_name() in _ANGLES]
    winograd = {node for node in sources if any(name.startswith(_WINOGRAD) for name in node.output(0).get_names())}
    exact = winograd | _down_to_products(winograd, takers)
    exact |= _up_to_products([*answering, *_down_to_products(angles, takers)], sources)
    parts = _parts_from_the_end(sources, takers, exact)
    parameters, handed_over = _separate(parts)
    divided = []
    for part in sorted(set(parts.values()), reverse=True):
        outputs = [result.input_value(0) for result in results if parts[result] == part]
        outputs += handed_over.get(part, {}).values()
        divided.append((Model(outputs, parameters.get(part, [])), part % 2 == 0))
    return divided


def _varying(model: Any) -> dict[Any, list[Any]]:
    """The nodes that depend on what the model is given, each after those that it takes from; these of each."""
    varying: dict[Any, list[Any]] = {}
    for node in model.get_ordered_ops():
        sources = [port.get_source_output().get_node() for port in node.inputs()]
        taken = [source for source in sources if source in varying]
        if taken or node.get_type_name() == "Parameter":
            varying[node] = taken
    return varying


def _down_to_products(starts: Iterable[Any], takers: Mapping[Any, list[Any]]) -> set[Any]:
    """Some nodes and what is computed from them, without the products that take it."""
    found: set[Any] = set()
    stack = list(starts)
    while stack:
        node = stack.pop()
        if node not in found and node.get_type_name() not in _PRODUCTS:
            found.add(node)
            stack += takers[node]
    return found


def _up_to_products(starts: Iterable[Any], sources: Mapping[Any, list[Any]]) -> set[Any]:
    """Some nodes and what they are computed from, as far as the nearest products, these too."""
    found: set[Any] = set()
    stack = list(starts)
    while stack:
        node = stack.pop()
        if node not in found:
            found.add(node)
            stack += [] if node.get_type_name() in _PRODUCTS else sources[node]
    return found


def _parts_from_the_end(
    sources: Mapping[Any, list[Any]], takers: Mapping[Any, list[Any]], exact: set[Any]
) -> dict[Any, int]:
    """The part of each node, counted from the end: the even ones stay float32. An input belongs to none.

    Each node comes as late as it can, so that what is small is handed over and not what was made large of it.
    """
    parts: dict[Any, int] = {}
    for node in reversed(list(sources)):
        if node.get_type_name() not in ("Parameter", "Result"):
            least = max((parts[taker] for taker in takers[node] if taker in parts), default=0)
            parts[node] = least + (least % 2 != (node not in exact))
    ends = [node for node in sources if node.get_type_name() == "Result"]
    return parts | {result: parts.get(sources[result][0], 0) for result in ends}


def _separate(parts: Mapping[Any, int]) -> tuple[dict[int, list[Any]], dict[int, dict[Any, Any]]]:
    """Puts a parameter in the place of each tensor that a part takes from elsewhere.

    Returns:
        The new parameters of each part; and what each part has to give to others, beside the model's own outputs.
    """
    from openvino import op

    parameters: dict[int, list[Any]] = {}
    handed_over: dict[int, dict[Any, Any]] = {}
    made: dict[tuple[Any, int, int], Any] = {}
    for node, part in parts.items():
        for port in node.inputs():
            output = port.get_source_output()
            source, index = output.get_node(), output.get_index()
            is_input = source.get_type_name() == "Parameter"
            if parts.get(source) == part or not (is_input or source in parts):
                continue
            key = source, index, part
            if key not in made:
                if not output.get_names():
                    output.get_tensor().add_names({f"rsvl.{len(made)}"})
                made[key] = op.Parameter(output.get_element_type(), output.get_partial_shape())
                made[key].output(0).get_tensor().set_names(output.get_names())
                parameters.setdefault(part, []).append(made[key])
                if not is_input and not _is_result(output):
                    handed_over.setdefault(parts[source], {})[source, index] = output
            port.replace_source_output(made[key].output(0))
    return parameters, handed_over


def _is_result(output: Any) -> bool:
    return any(port.get_node().get_type_name() == "Result" for port in output.get_target_inputs())
