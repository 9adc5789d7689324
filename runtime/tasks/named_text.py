"""A sentence with a short name, by which results call it."""

from __future__ import annotations


class NamedText(str):
    """A sentence with a name; everything but results sees the text alone.

    Attributes:
        name: for bands of rasters and properties of features.

    Examples:
        >>> NamedText("the white ship by the pier", "ships").name
        'ships'
    """

    name: str

    def __new__(cls, text: str, name: str = "") -> NamedText:
        """Names a sentence."""
        named = super().__new__(cls, text)
        named.name = name
        return named


def name_of(text: str) -> str:
    """The name of a sentence; the sentence itself where it has none."""
    return getattr(text, "name", "") or str(text)
