"""The light runtime: loads a bundle and runs it, without PyTorch, onnx or transformers.

`load` gives the runner of the bundle's task; `tune` chooses the fastest way to run a bundle on this machine.

Examples:
    >>> import rsvl.runtime
    >>> segmenter = rsvl.runtime.load("tiny.bundle")
    >>> red, blue = segmenter.segment("squares.png", ["the red square", "the blue square"])
    >>> red.box, blue.box
    ((10, 5, 20, 15), (20, 18, 28, 30))
    >>> red.save("red.json")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rsvl.runtime.errors import RsvlError

if TYPE_CHECKING:
    from rsvl.runtime.loading import load
    from rsvl.runtime.results.base import Result
    from rsvl.runtime.results.classification import Classification
    from rsvl.runtime.results.grounding import Grounding
    from rsvl.runtime.results.matching import Match
    from rsvl.runtime.results.segmentation import Segmentation
    from rsvl.runtime.results.vqa import Answer
    from rsvl.runtime.scenes.find import find_in_scene
    from rsvl.runtime.tasks.classification import Classifier
    from rsvl.runtime.tasks.grounding import Grounder
    from rsvl.runtime.tasks.marked_text import MarkedText
    from rsvl.runtime.tasks.matching import Matcher
    from rsvl.runtime.tasks.query import Query
    from rsvl.runtime.tasks.raw import RawRunner
    from rsvl.runtime.tasks.runner import Runner
    from rsvl.runtime.tasks.segmentation import Segmenter
    from rsvl.runtime.tasks.vqa import Answerer
    from rsvl.runtime.tuning.tune import tune

__all__ = [
    "Answer",
    "Answerer",
    "Classification",
    "Classifier",
    "Grounder",
    "Grounding",
    "MarkedText",
    "Match",
    "Matcher",
    "Query",
    "RawRunner",
    "Result",
    "RsvlError",
    "Runner",
    "Segmentation",
    "Segmenter",
    "find_in_scene",
    "load",
    "tune",
]

_HOMES = {
    "Answer": "rsvl.runtime.results.vqa",
    "Answerer": "rsvl.runtime.tasks.vqa",
    "Classification": "rsvl.runtime.results.classification",
    "Classifier": "rsvl.runtime.tasks.classification",
    "Grounder": "rsvl.runtime.tasks.grounding",
    "Grounding": "rsvl.runtime.results.grounding",
    "MarkedText": "rsvl.runtime.tasks.marked_text",
    "Match": "rsvl.runtime.results.matching",
    "Matcher": "rsvl.runtime.tasks.matching",
    "Query": "rsvl.runtime.tasks.query",
    "RawRunner": "rsvl.runtime.tasks.raw",
    "Result": "rsvl.runtime.results.base",
    "Runner": "rsvl.runtime.tasks.runner",
    "Segmentation": "rsvl.runtime.results.segmentation",
    "Segmenter": "rsvl.runtime.tasks.segmentation",
    "find_in_scene": "rsvl.runtime.scenes.find",
    "load": "rsvl.runtime.loading",
    "tune": "rsvl.runtime.tuning.tune",
}


def __getattr__(name: str) -> Any:
    # Imported on first use: who needs only `rsvl.runtime.errors`, as the custom operations do, loads nothing else.
    if name not in _HOMES:
        raise AttributeError(f"module 'rsvl.runtime' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
