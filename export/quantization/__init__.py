"""A float32 bundle to int8: explicit quantize and dequantize nodes in its graphs, after training.

    settings.py   what is asked
    layers.py     which nodes int8 is for
    feeds.py      calibration data through the bundle's own preprocessing and graphs
    smoothing.py  SmoothQuant: large channels go from layer norms into the weights after them
    ranges.py     each activation's range, by ONNX Runtime's calibrators
    qdq.py        the nodes
    groups.py     the model's parts, which are in int8 together
    figures.py    what may drop: the task's figure, or agreement with float32
    meter.py      the figure of a mix, remembered on disk
    mix.py        which parts go to int8
    quantize.py   all of it, in order

It works on a bundle that is written; what wrote it does not matter.
"""

from rsvl.export.quantization.quantize import quantize
from rsvl.export.quantization.settings import CALIBRATORS, Images, Int8

__all__ = ["CALIBRATORS", "Images", "Int8", "quantize"]
