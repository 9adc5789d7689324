"""Synthetic overhead scenes with labels: objects, masks, boxes, and sentences that refer to one object or none.

`generate` makes one scene from one seed; `write` makes a dataset on disk, in the public layout of one of `TASKS`.
"""

from rsvl.data.synth.catalog import CATEGORIES, COLOURS, Category
from rsvl.data.synth.generate import generate
from rsvl.data.synth.scene import Expression, Scene, SceneObject
from rsvl.data.synth.write import TASKS, Written, write

__all__ = [
    "CATEGORIES", "COLOURS", "TASKS", "Category", "Expression", "Scene", "SceneObject", "Written", "generate", "write",
]  # fmt: skip
