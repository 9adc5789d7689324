"""What of a graph stays float32 where a bundle is computed in bfloat16, which has eight bits.

- The last products of an answer, as in an int8 bundle: near a logit of -4.6 the steps are 0.03, which move a whole
  mask's border.
- A graph that computes angles, whole: `rsvl::RotatedConv2d` is defined with float32 angles, and OpenVINO has one type
  for all of a model. (With its head in bfloat16 up to the last product, `cd2fsan-tiny` lost 0.16 % of its mIoU.)
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

_PRODUCTS = {"Convolution", "ConvolutionBackpropData", "GroupConvolution", "MatMul"}
"""What OpenVINO computes in bfloat16 for speed. What comes after the last of them it leaves in float32 by itself."""

_ANGLES = {"Sin", "Cos"}


def divide(model: Any, answers: Collection[str]) -> tuple[Any | None, Any | None]:
    """Divides a model into what may be bfloat16 and what stays float32.

    Args:
        model: an `openvino.Model`; it is used up.
        answers: names of outputs, which may be none of the model's.

    Returns:
        Models to run one after the other: the first may be bfloat16, takes the model's inputs and gives its other
        outputs and what the second takes; the second stays float32. None for one that would be empty.
    """
    from openvino import Model, op

    varying = _varying(model)
    if any(node.get_type_name() in _ANGLES and node.get_name() in varying for node in model.get_ops()):
        return None, model
    results = [result for result in model.get_results() if not result.output(0).get_names().isdisjoint(answers)]
    if not results:
        return model, None
    ports, parameters = _last_products(results, varying)
    cuts = {_key(port.get_source_output()): port.get_source_output() for port in ports}
    others = [result.input_value(0) for result in model.get_results() if result not in results]
    if not cuts and not others:
        return None, model
    for number, source in enumerate(cuts.values()):
        source.get_tensor().add_names({f"rsvl.cut.{number}"})
    first = Model([*others, *cuts.values()], model.get_parameters()).clone()  # not changed by what follows
    taken = {key: op.Parameter(source.get_element_type(), source.get_partial_shape()) for key, source in cuts.items()}
    for number, parameter in enumerate(taken.values()):
        parameter.output(0).get_tensor().set_names({f"rsvl.cut.{number}"})
    for port in ports:
        port.replace_source_output(taken[_key(port.get_source_output())].output(0))
    return first, Model(results, [*taken.values(), *parameters])


def _last_products(results: Sequence[Any], varying: set[str]) -> tuple[list[Any], list[Any]]:
    """Where the last products before `results` take what was computed before; and which of the inputs are taken too."""
    ports: list[Any] = []
    parameters: dict[str, Any] = {}
    seen: set[str] = set()
    stack = list(results)
    while stack:
        node = stack.pop()
        for port in node.inputs():
            source = port.get_source_output().get_node()
            name = source.get_name()
            if source.get_type_name() == "Parameter":
                parameters[name] = source
            elif name in varying and node.get_type_name() in _PRODUCTS:
                ports.append(port)
            elif name in varying and name not in seen:
                seen.add(name)
                stack.append(source)
    return ports, list(parameters.values())


def _varying(model: Any) -> set[str]:
    """Names of the nodes that depend on what the model is given; the others are its weights."""
    varying: set[str] = set()
    for node in model.get_ordered_ops():
        sources = (port.get_source_output().get_node().get_name() for port in node.inputs())
        if node.get_type_name() == "Parameter" or not varying.isdisjoint(sources):
            varying.add(node.get_name())
    return varying


def _key(output: Any) -> tuple[str, int]:
    return output.get_node().get_name(), output.get_index()
