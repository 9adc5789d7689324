"""A float32 bundle to int8 or fp8: explicit quantize and dequantize nodes in its graphs, after training.

    settings.py   what is asked
    types.py      int8 and fp8
    layers.py     which nodes 8 bits are for
    feeds.py      calibration data through the bundle's own preprocessing and graphs
    smoothing.py  SmoothQuant: large channels go from layer norms into the weights after them
    ranges.py     each activation's range, by ONNX Runtime's calibrators
    qdq.py        the nodes
    groups.py     the model's parts, which go to 8 bits together
    figures.py    what may drop: the task's figure, or agreement with float32
    meter.py      the figure of a mix, remembered on disk
    mix.py        which parts go to 8 bits
    quantize.py   all of it, in order

It works on a bundle that is written; what wrote it does not matter.
"""

from rsvl.export.quantization.quantize import quantize
from rsvl.export.quantization.settings import CALIBRATORS, Images, QuantizationSettings
from rsvl.export.quantization.types import EIGHT_BIT

__all__ = ["CALIBRATORS", "EIGHT_BIT", "Images", "QuantizationSettings", "quantize"]
