"""A float32 bundle to int8 or fp8: explicit quantize and dequantize nodes in its graphs, after training.

`quantize(bundle, output, "int8", settings)` is the whole. Nothing here needs PyTorch.

    pipeline.py                what is asked of it, in order: bundle to bundle
    in_place.py                the graphs of a bundle that is being written
    settings.py                what is asked
    types.py                   int8 and fp8
    plain_convs.py             convolutions in Winograd's form back to plain ones
    layers.py                  which nodes 8 bits are for
    calibration_data.py        data through the bundle's own preprocessing and graphs
    smoothing.py               SmoothQuant: large channels go from layer norms into the weights after them
    ranges.py                  each activation's range, by ONNX Runtime's calibrators
    qdq.py                     the nodes
    groups.py                  the model's parts, which go to 8 bits together
    metric.py                  what may drop: the task's metric, or agreement with float32
    measurement_cache.py       the metric of each set of parts, remembered on disk
    mixed_precision_search.py  which parts go to 8 bits
"""

from rsvl.export.quantization.pipeline import quantize, quantize_staged
from rsvl.export.quantization.settings import CALIBRATORS, Images, QuantizationSettings
from rsvl.export.quantization.types import EIGHT_BIT

__all__ = ["CALIBRATORS", "EIGHT_BIT", "Images", "QuantizationSettings", "quantize", "quantize_staged"]
