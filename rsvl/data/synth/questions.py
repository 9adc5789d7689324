"""The sixteen types of question, and which of a scene's questions are asked so that no answer can be guessed.

The types are in the spirit of RSVQA's and OSVQA's (whose list is not public).
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf

from rsvl.data.synth import ground_questions, object_questions
from rsvl.data.synth.question_draft import Asker, QuestionDraft, View

#: Every type with the asker of its questions and the largest share that one answer may have in it.
TYPES: dict[str, tuple[Asker, float]] = {
    "presence": (object_questions.presence, 0.5),
    "count": (object_questions.count, 0.3),
    "comparison": (object_questions.comparison, 0.5),
    "relation": (object_questions.relation, 0.5),
    "relative position": (object_questions.relative_position, 0.3),
    "absolute position": (object_questions.absolute_position, 0.3),
    "color": (object_questions.color, 0.3),
    "size": (object_questions.size, 0.5),
    "category": (object_questions.category, 0.3),
    "orientation": (object_questions.orientation, 0.4),
    "density": (object_questions.density, 0.4),
    "cover presence": (ground_questions.cover_presence, 0.5),
    "cover": (ground_questions.cover, 0.5),
    "rural or urban": (ground_questions.area, 0.5),
    "optical quality": (ground_questions.quality, 0.4),
    "sensor": (ground_questions.sensor, 0.5),
}

#: Questions of one type about one scene, at most.
PER_TYPE = 2
#: How far the answers of a type, or of a subject in it, may be from balance while there are few.
_SLACK = 1.0


def askable(view: View) -> list[QuestionDraft]:
    """Every question that may be asked of a scene, in a random order."""
    found = [asked for asker, _ in TYPES.values() for asked in asker(view)]
    return [found[i] for i in view.rng.permutation(len(found))]


@dataclass
class Balance:
    """Chooses questions scene by scene so that the answers of each type stay balanced.

    No answer's share exceeds the type's limit by more than a few questions; answers of yes and no, and others of two,
    are also balanced within each subject ("Is there a ship?" is as often true as false).
    """

    answers: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    subjects: defaultdict[tuple[str, str], Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def choose(self, questions: Sequence[QuestionDraft]) -> list[QuestionDraft]:
        """The questions to ask of a scene, of all that may be asked; they count as asked."""
        by_type: dict[str, list[QuestionDraft]] = {kind: [] for kind in TYPES}
        for asked in questions:
            by_type[asked.type].append(asked)
        return [asked for kind in TYPES for asked in self._of_type(by_type[kind])]

    def _of_type(self, options: list[QuestionDraft]) -> list[QuestionDraft]:
        chosen: list[QuestionDraft] = []
        while options and len(chosen) < PER_TYPE:
            best = min(options, key=self._cost)
            if self._cost(best) == (inf, inf):
                break
            chosen.append(best)
            self.answers[best.type][best.answer] += 1
            self.subjects[best.type, best.subject][best.answer] += 1
            # One subject is asked about once, unless there is only one.
            options = [o for o in options if o.text != best.text and (o.subject != best.subject or not o.subject)]
        return chosen

    def _cost(self, asked: QuestionDraft) -> tuple[float, float]:
        """How common the answer is already, in the type and in the subject; infinite where it is too common."""
        of_type, of_subject = self.answers[asked.type], self.subjects[asked.type, asked.subject]
        limit = TYPES[asked.type][1]
        if of_type[asked.answer] + 1 > limit * (of_type.total() + 1) + _SLACK:
            return inf, inf
        if limit == 0.5 and asked.subject and of_subject[asked.answer] + 1 > 0.5 * (of_subject.total() + 1) + _SLACK:
            return inf, inf
        return of_type[asked.answer], of_subject[asked.answer]
