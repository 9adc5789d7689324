"""Questions about a scene with the answers that its facts give: the frame that all types of question share.

A question is asked only where the facts leave no doubt: nothing half hidden is counted, nothing near a limit compared,
and what only the optical image can show is asked only where it shows it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rsvl.data.synth.catalog import CATEGORIES
from rsvl.data.synth.facts import Facts
from rsvl.data.synth.naming import Name, names
from rsvl.data.synth.scene import Scene, SceneObject


@dataclass(frozen=True)
class QuestionDraft:
    """A question that may be asked of a scene.

    Attributes:
        type: the kind of question, one of `rsvl.data.synth.questions.TYPES`.
        text: the question.
        answer: what the scene's facts say.
        subject: what it is about; answers are balanced within a subject too, so that the words do not predict them.
        objects: those of the scene, by index, that one must look at to answer; none where there are none, or all count.
    """

    type: str
    text: str
    answer: str
    subject: str = ""
    objects: tuple[int, ...] = ()


class View:
    """A scene as it is asked about.

    Attributes:
        rng: for the choice of words and of questions.
        scene: what is there.
        condition: of the optical image, a key of `rsvl.data.synth.weather.CONDITIONS`.
        hidden: how far the optical image hides what is there, float32 [H, W] in 0…1.
        optical: whether there is an optical image.
        sar: whether there is a SAR image.
    """

    def __init__(
        self, rng: np.random.Generator, scene: Scene, condition: str, hidden: np.ndarray, optical: bool, sar: bool
    ) -> None:
        """Look at a scene."""
        self.rng, self.scene, self.condition, self.hidden = rng, scene, condition, hidden
        self.optical, self.sar = optical, sar
        self.size = scene.image.shape[0]
        self.objects = scene.objects

    @cached_property
    def facts(self) -> Facts:
        """The predicates over the scene's objects."""
        return Facts(self.objects, self.size)

    @cached_property
    def names(self) -> dict[int, Name]:
        """The objects that can be named, by index."""
        return names(self.facts)

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many there are of each category, 0 included; categories with an object too little seen are left out."""
        found: dict[str, list[SceneObject]] = {category: [] for category in CATEGORIES}
        for thing in self.objects:
            found[thing.category].append(thing)
        return {category: len(own) for category, own in found.items() if all(thing.clear for thing in own)}

    def of(self, *categories: str) -> tuple[int, ...]:
        """The objects of some categories, by index."""
        return tuple(i for i, thing in enumerate(self.objects) if thing.category in categories)

    def cover(self, thing: SceneObject) -> float:
        """How far the optical image hides an object, 0…1 on average."""
        return float(self.hidden[thing.mask].mean())

    def pick(self, *wordings: str) -> str:
        """One of several wordings."""
        return wordings[int(self.rng.integers(len(wordings)))]


Asker = Callable[[View], Iterator[QuestionDraft]]
"""All questions of one type that may be asked of a scene."""


def noun(category: str) -> str:
    """The word for one object of a category."""
    return CATEGORIES[category].nouns[0]


def nouns(category: str) -> str:
    """The word for several objects of a category."""
    return f"{noun(category)}s"


def article(category: str) -> str:
    """The word for any object of a category."""
    return f"an {noun(category)}" if noun(category)[0] in "aeiou" else f"a {noun(category)}"


def yes(holds: bool) -> str:
    """The answer to a question of yes or no."""
    return "yes" if holds else "no"
