"""A float32 bundle to int8 or fp8: explicit quantize and dequantize nodes in its graphs, after training.

    settings.py                how a bundle is quantized
    types.py                   int8 and fp8
    layers.py                  which nodes can be quantized
    calibration_data.py        calibration data through the bundle's own preprocessing and graphs
    smoothing.py               SmoothQuant: large channels go from layer norms into the weights after them
    ranges.py                  each activation's range, by ONNX Runtime's calibrators
    qdq.py                     the nodes
    groups.py                  the model's parts, each quantized as a whole
    metric.py                  what may drop: the primary metric, or agreement with float32
    measurement_cache.py       the metric of a selection of parts, cached on disk
    mixed_precision_search.py  which parts are quantized
    quantize.py                all of it, in order

It works on a written bundle; what wrote it does not matter.
"""

from rsvl.export.quantization.quantize import quantize
from rsvl.export.quantization.settings import CALIBRATORS, Images, QuantizationSettings
from rsvl.export.quantization.types import QUANT_TYPES

__all__ = ["CALIBRATORS", "QUANT_TYPES", "Images", "QuantizationSettings", "quantize"]
