"""A float32 bundle to int8 or fp8: explicit quantize and dequantize nodes in its graphs, after training.

`quantize(bundle, output, "int8", settings)` is the whole. Nothing here needs PyTorch.

    pipeline.py                all of it, in order: bundle to bundle
    in_place.py                the graphs of a bundle that is being written
    settings.py                how a bundle is quantized
    types.py                   int8 and fp8
    plain_convs.py             convolutions of earlier bundles back from Winograd's form
    layers.py                  which nodes can be quantized
    calibration_data.py        calibration data through the bundle's own preprocessing and graphs
    smoothing.py               SmoothQuant: large channels go from layer norms into the weights after them
    ranges.py                  each activation's range, by ONNX Runtime's calibrators
    qdq.py                     the nodes
    groups.py                  the model's parts, each quantized as a whole
    metric.py                  what may drop: the primary metric, or agreement with float32
    measurement_cache.py       the metric of a selection of parts, cached on disk
    mixed_precision_search.py  which parts are quantized
"""

from rsvl.export.quantization.pipeline import quantize, quantize_staged
from rsvl.export.quantization.settings import CALIBRATORS, Images, QuantizationSettings
from rsvl.export.quantization.types import QUANT_TYPES

__all__ = ["CALIBRATORS", "QUANT_TYPES", "Images", "QuantizationSettings", "quantize", "quantize_staged"]
