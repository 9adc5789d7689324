"""The graph optimizers that ONNX Runtime must leave out for a graph to load."""

from __future__ import annotations

#: What on Arm CPUs with float16 instructions puts nodes into a float16 graph for which the CPU provider has no
#: kernel: AveragePool of opset 19 in NHWC (seen in 1.20.1 to 1.31.1), BiasGelu (1.29.0) and Gelu (1.24.4 to 1.29.0;
#: one fusion, which runs at two levels). The graph does not load then, whichever provider runs the rest of it.
_HALF_ON_ARM = ("NhwcTransformer", "BiasGeluFusion", "GeluFusionL1", "GeluFusionL2")

_ARM = ("aarch64", "arm64")


def disabled_optimizers(precision: str, machine: str) -> tuple[str, ...]:
    """The optimizers to disable, by ONNX Runtime's names.

    Args:
        precision: the bundle's.
        machine: the CPU's architecture, as `platform.machine` has it.
    """
    return _HALF_ON_ARM if precision == "fp16" and machine.lower() in _ARM else ()
