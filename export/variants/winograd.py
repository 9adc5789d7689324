"""Large 3×3 convolutions of float32 as `rsvl::WinogradConv2d`, which multiplies a quarter as often.

ONNX Runtime computes a Conv on a CPU directly. The weights stay as they are: what brings them into their form are nodes
on constants, which ONNX Runtime computes once, when it loads the graph.
"""

from __future__ import annotations

import onnx_ir as ir

from rsvl.export.symbolics import DOMAIN
from rsvl.export.variants.matching import is_node, put_in_place, rank, size

MIN_CHANNELS = 128
MIN_KERNELS = 128 * 256
MIN_PIXELS = 225
"""Of input and output; of both multiplied; of a channel. Below, moving patches, which grows with the sum of the
channels, costs what multiplying less, which grows with their product, saves. The time of a Conv between two 1×1
convolutions relative to Winograd's form, float32, maps of 15×15 to 80×80, on an AMD EPYC:

| channels  | 1 thread   | 2 threads  |
| --------- | ---------- | ---------- |
| 128 → 128 | 1.2 to 1.4 | 0.8 to 1.0 |
| 128 → 256 | 1.4 to 1.6 | 1.0 to 1.2 |
| 256 → 128 | 1.3 to 1.5 | 1.1 to 1.2 |
| 256 → 256 | 1.6 to 1.8 | 1.3 to 1.5 |
| 512 → 512 | 1.6 to 2.0 | 1.7 to 1.9 |

At 10×10 it is 0.5 to 1.0. In the image graph of `optisar-net++`, whose residual blocks have nine of 128 → 128, their
form changed nothing on 1 thread and cost 3 % on 2.
"""

_DEFAULTS = {"strides": (1, 1), "dilations": (1, 1), "pads": (0, 0, 0, 0), "group": 1, "auto_pad": "NOTSET"}
_PLAIN = _DEFAULTS | {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1)}


def to_winograd(graph: ir.Graph) -> int:
    """Replaces in place the convolutions that it suits; returns how many."""
    found = [node for node in graph if _suits(node)]
    for conv in found:
        _replace(graph, conv)
    return len(found)


def _suits(conv: ir.Node) -> bool:
    if not is_node(conv, "Conv"):
        return False
    x, weight = conv.inputs[:2]
    if x is None or weight is None or weight.const_value is None:
        return False
    if weight.dtype != ir.DataType.FLOAT or rank(weight) != 4:
        return False
    cout, cin, *kernel = (size(weight, axis) for axis in range(4))
    pixels = size(x, 2) * size(x, 3)
    given = {name: attribute.value for name, attribute in conv.attributes.items()}
    found = {"kernel_shape": kernel, **_DEFAULTS, **given}
    plain = {name: tuple(v) if isinstance(v, list | tuple) else v for name, v in found.items()} == _PLAIN
    large = min(cout, cin) >= MIN_CHANNELS and cout * cin >= MIN_KERNELS
    return plain and large and pixels >= MIN_PIXELS


def _replace(graph: ir.Graph, conv: ir.Node) -> None:
    """Puts the operation, and an addition of the bias, in a convolution's place."""
    x, weight, *bias = conv.inputs
    tape, old = ir.tape.Tape(), conv.outputs[0]
    taps = tape.op("Transpose", [weight], {"perm": (2, 3, 0, 1)})
    new = tape.op("WinogradConv2d", [x, taps], domain=DOMAIN)
    if bias and bias[0] is not None:
        new.shape, new.type = old.shape, old.type
        axes = tape.op("Constant", [], {"value_ints": [1, 2]})
        new = tape.op("Add", [new, tape.op("Unsqueeze", [bias[0], axes])])
    put_in_place(graph, conv, tape, old, new)
