"""A float32 bundle to int8 or fp8: explicit quantize and dequantize nodes in its graphs, after training.

    settings.py                what is asked
    types.py                   int8 and fp8
    layers.py                  which nodes 8 bits are for
    calibration_data.py        calibration data through the bundle's own preprocessing and graphs
    smoothing.py               SmoothQuant: large channels go from layer norms into the weights after them
    ranges.py                  each activation's range, by ONNX Runtime's calibrators
    qdq.py                     the nodes
    groups.py                  the model's parts, which go to 8 bits together
    metric.py                  what may drop: the task's metric, or agreement with float32
    measurement_cache.py       the metric of each set of parts, remembered on disk
    mixed_precision_search.py  which parts go to 8 bits
    quantize.py                all of it, in order

It works on a bundle that is written; what wrote it does not matter.
"""

from rsvl.export.quantization.quantize import quantize
from rsvl.export.quantization.settings import CALIBRATORS, Images, QuantizationSettings
from rsvl.export.quantization.types import EIGHT_BIT

__all__ = ["CALIBRATORS", "EIGHT_BIT", "Images", "QuantizationSettings", "quantize"]
