"""The light runtime: loads a bundle and runs it, without PyTorch, onnx or transformers.

`load` gives the runner of the bundle's task. Example::

    import rsvl.runtime

    segmenter = rsvl.runtime.load("cd2fsan-tiny.rsvl")
    ship, pier = segmenter.segment("harbour.tif", ["the white ship left of the pier", "the long pier"])
    ship.save("ship.geojson")
"""

from rsvl.runtime.answerer import Answer, Answerer
from rsvl.runtime.errors import RsvlError
from rsvl.runtime.grounder import Grounder
from rsvl.runtime.grounding import Grounding
from rsvl.runtime.loading import load
from rsvl.runtime.matcher import Classification, Match, Matcher
from rsvl.runtime.result import Segmentation
from rsvl.runtime.runner import Runner
from rsvl.runtime.segmenter import Segmenter

__all__ = [
    "Answer",
    "Answerer",
    "Classification",
    "Grounder",
    "Grounding",
    "Match",
    "Matcher",
    "RsvlError",
    "Runner",
    "Segmentation",
    "Segmenter",
    "load",
]
