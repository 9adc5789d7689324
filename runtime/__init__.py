"""The light runtime: loads a bundle and runs it, without PyTorch, onnx or transformers.

Example::

    import rsvl.runtime

    segmenter = rsvl.runtime.load("cd2fsan-tiny.rsvl")
    ship, pier = segmenter.segment("harbour.tif", ["the white ship left of the pier", "the long pier"])
    ship.save("ship.geojson")
"""

from rsvl.runtime.errors import RsvlError
from rsvl.runtime.result import Segmentation
from rsvl.runtime.segmenter import Segmenter, load

__all__ = ["RsvlError", "Segmentation", "Segmenter", "load"]
