"""A sentence whose caller says which of its words are which, for models that ask for that."""

from __future__ import annotations

from collections.abc import Sequence

from rsvl.runtime.errors import InputError


class MarkedText(str):
    """A sentence with marked phrases. A model that takes no marks refuses it; everything else sees the text.

    Attributes:
        marks: phrases of the sentence, by kind (`rsvl.runtime.manifest.TextSpec.marks`). A kind without phrases says
            that the sentence has none; a kind that is absent leaves it to the model.

    Examples:
        >>> sentence = MarkedText("the ship left of the pier", object="ship", place="left of the pier")
        >>> sentence.marks["object"], sentence == "the ship left of the pier"
        (('ship',), False)
    """

    marks: dict[str, tuple[str, ...]]

    def __new__(cls, text: str, **marks: str | Sequence[str]) -> MarkedText:
        """Marks phrases of a sentence, each one or several.

        Raises:
            InputError: a phrase is not in the sentence.
        """
        marked = super().__new__(cls, text)
        marked.marks = {kind: (given,) if isinstance(given, str) else tuple(given) for kind, given in marks.items()}
        for kind, phrases in marked.marks.items():
            for phrase in phrases:
                if not phrase.strip() or phrase.lower() not in text.lower():
                    raise InputError(f"{phrase!r} is marked as {kind} and is not in the sentence {text[:48]!r}")
        return marked

    def spans(self, kind: str) -> list[tuple[int, int]]:
        """Where the phrases of a kind are, each time they occur, as characters from … up to …."""
        text, found = self.lower(), []
        for phrase in self.marks.get(kind, ()):
            start = text.find(phrase.lower())
            while start >= 0:
                found.append((start, start + len(phrase)))
                start = text.find(phrase.lower(), start + 1)
        return found

    def __eq__(self, other: object) -> bool:
        if isinstance(other, MarkedText):
            return str.__eq__(self, other) and self.marks == other.marks
        return False

    def __hash__(self) -> int:
        return hash((str(self), *sorted(self.marks.items())))
