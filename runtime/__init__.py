"""The light runtime: loads a bundle and runs it, without PyTorch, onnx or transformers.

`load` gives the runner of the bundle's task. Example::

    import rsvl.runtime

    segmenter = rsvl.runtime.load("cd2fsan-tiny.rsvl")
    ship, pier = segmenter.segment("harbour.tif", ["the white ship left of the pier", "the long pier"])
    ship.save("ship.geojson")
"""

from rsvl.runtime.errors import RsvlError
from rsvl.runtime.loading import load
from rsvl.runtime.results.base import Result
from rsvl.runtime.results.grounding import Grounding
from rsvl.runtime.results.matching import Classification, Match
from rsvl.runtime.results.segmentation import Segmentation
from rsvl.runtime.results.vqa import Answer
from rsvl.runtime.tasks.grounding import Grounder
from rsvl.runtime.tasks.matching import Matcher
from rsvl.runtime.tasks.query import Query
from rsvl.runtime.tasks.raw import RawRunner
from rsvl.runtime.tasks.runner import Runner
from rsvl.runtime.tasks.segmentation import Segmenter
from rsvl.runtime.tasks.vqa import Answerer

__all__ = [
    "Answer",
    "Answerer",
    "Classification",
    "Grounder",
    "Grounding",
    "Match",
    "Matcher",
    "Query",
    "RawRunner",
    "Result",
    "RsvlError",
    "Runner",
    "Segmentation",
    "Segmenter",
    "load",
]
