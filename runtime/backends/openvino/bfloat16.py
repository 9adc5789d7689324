"""What of a graph stays float32 where a bundle is computed in bfloat16, which has eight bits.

- The last products before an answer, as in an int8 bundle: near a logit of -4.6 bfloat16's steps are 0.03, which move
  a whole mask's border.
- Angles, from the products that they come from to those that they enter: `rsvl::RotatedConv2d` is defined with float32
  angles. (In bfloat16 its rotated kernels shrank every mask of `cd2fsan-tiny` a little.)
- Convolutions in Winograd's form, and what follows up to the next product: the form of a float32 graph multiplies
  rounding errors by ten.

OpenVINO has one type for all of a model, so a graph becomes several models that run one after the other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from rsvl.runtime.backends.openvino.inlining import INLINED

_PRODUCTS = {"Convolution", "ConvolutionBackpropData", "GroupConvolution", "MatMul"}
"""What OpenVINO computes in bfloat16 for speed. What comes after the last of them it leaves in float32 by itself."""

_ANGLES = {"Sin", "Cos"}

_WINOGRAD = (f"{INLINED}RotatedConv2d.", f"{INLINED}WinogradConv2d.")
"""How names of tensors begin that come from the body of a convolution in Winograd's form."""


def divide(model: Any, answers: Collection[str]) -> list[tuple[Any, bool]]:
    """Divides a model into parts that may be bfloat16 and parts that stay float32.

    Args:
        model: an `openvino.Model`; it is used up.
        answers: names of final outputs, which need not be this model's.

    Returns:
        Models in the order in which they run, and of each whether it stays float32. A tensor that a part takes from the
        model's inputs or from an earlier part has the same name in both.
    """
    from openvino import Model
    from openvino.passes import ConstantFolding, Manager

    folding = Manager()
    folding.register_pass(ConstantFolding())  # known sizes are then no tensors to pass on
    folding.run_passes(model)
    sources = _varying(model)
    results = [node for node in sources if node.get_type_name() == "Result"]
    consumers: dict[Any, list[Any]] = {node: [] for node in sources}
    for node, producers in sources.items():
        for source in producers:
            consumers[source].append(node)
    answering = [result for result in results if not result.output(0).get_names().isdisjoint(answers)]
    angles = [node for node in sources if node.get_type_name() in _ANGLES]
    winograd = {node for node in sources if _in_winograds_form(node)}
    exact = winograd | _down_to_products(winograd, consumers)
    exact |= _up_to_products([*answering, *_down_to_products(angles, consumers)], sources)
    parts = _parts_from_the_end(sources, consumers, exact)
    parameters, passed_on = _separate(parts)
    divided = []
    for part in sorted(set(parts.values()), reverse=True):
        outputs = [result.input_value(0) for result in results if parts[result] == part]
        outputs += passed_on.get(part, {}).values()
        divided.append((Model(outputs, parameters.get(part, [])), part % 2 == 0))
    return divided


def _in_winograds_form(node: Any) -> bool:
    """Whether it belongs to a float32 convolution in that form: in float16 it is F(2×2, 3×3) and may be bfloat16."""
    is_float32 = node.get_output_element_type(0).to_string() == "f32"
    return is_float32 and any(name.startswith(_WINOGRAD) for name in node.output(0).get_names())


def _varying(model: Any) -> dict[Any, list[Any]]:
    """The nodes that depend on the model's inputs, in topological order, and of each the producers of its inputs."""
    varying: dict[Any, list[Any]] = {}
    for node in model.get_ordered_ops():
        sources = [port.get_source_output().get_node() for port in node.inputs()]
        producers = [source for source in sources if source in varying]
        if producers or node.get_type_name() == "Parameter":
            varying[node] = producers
    return varying


def _down_to_products(starts: Iterable[Any], consumers: Mapping[Any, list[Any]]) -> set[Any]:
    """Some nodes and what is computed from them, up to the next products, without these."""
    found: set[Any] = set()
    stack = list(starts)
    while stack:
        node = stack.pop()
        if node not in found and node.get_type_name() not in _PRODUCTS:
            found.add(node)
            stack += consumers[node]
    return found


def _up_to_products(starts: Iterable[Any], sources: Mapping[Any, list[Any]]) -> set[Any]:
    """Some nodes and what they are computed from, back to the nearest products, with these."""
    found: set[Any] = set()
    stack = list(starts)
    while stack:
        node = stack.pop()
        if node not in found:
            found.add(node)
            stack += [] if node.get_type_name() in _PRODUCTS else sources[node]
    return found


def _parts_from_the_end(
    sources: Mapping[Any, list[Any]], consumers: Mapping[Any, list[Any]], exact: set[Any]
) -> dict[Any, int]:
    """The part of each node, counted from the end: the even ones stay float32. An input belongs to none.

    Each node comes as late as it can, so that small tensors are passed on and not the large ones made of them.
    """
    parts: dict[Any, int] = {}
    for node in reversed(list(sources)):
        if node.get_type_name() not in ("Parameter", "Result"):
            first = max((parts[consumer] for consumer in consumers[node] if consumer in parts), default=0)
            parts[node] = first + (first % 2 != (node not in exact))
    ends = [node for node in sources if node.get_type_name() == "Result"]
    return parts | {result: parts.get(sources[result][0], 0) for result in ends}


def _separate(parts: Mapping[Any, int]) -> tuple[dict[int, list[Any]], dict[int, dict[Any, Any]]]:
    """Puts a parameter in the place of each tensor that a part takes from another.

    Returns:
        The new parameters of each part; and what each part passes on to others, beside the model's own outputs.
    """
    from openvino import op

    parameters: dict[int, list[Any]] = {}
    passed_on: dict[int, dict[Any, Any]] = {}
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
                    passed_on.setdefault(parts[source], {})[source, index] = output
            port.replace_source_output(made[key].output(0))
    return parameters, passed_on


def _is_result(output: Any) -> bool:
    return any(port.get_node().get_type_name() == "Result" for port in output.get_target_inputs())
