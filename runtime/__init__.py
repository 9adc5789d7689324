"""The light runtime: loads a bundle and runs it, without PyTorch, onnx or transformers.

`load` gives the runner of the bundle's task.

Examples:
    >>> import rsvl.runtime
    >>> segmenter = rsvl.runtime.load("tiny.bundle")
    >>> red, blue = segmenter.segment("squares.png", ["the red square", "the blue square"])
    >>> red.box, blue.box
    ((10, 5, 20, 15), (20, 18, 28, 30))
    >>> red.save("red.geojson")
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
