"""What is said and boxed of an image, for its mirror image."""

from __future__ import annotations

import re
from dataclasses import replace

from rsvl.data.records import Box, ImageRecord, Referring

_SIDES = (
    ("left", "right"),
    ("leftmost", "rightmost"),
    ("lefthand", "righthand"),
    ("leftward", "rightward"),
    ("leftwards", "rightwards"),
    ("west", "east"),
    ("western", "eastern"),
    ("westernmost", "easternmost"),
    ("northwest", "northeast"),
    ("northwestern", "northeastern"),
    ("southwest", "southeast"),
    ("southwestern", "southeastern"),
)
_EXCHANGED = {**dict(_SIDES), **{other: one for one, other in _SIDES}}
_WORD = re.compile(r"[A-Za-z]+")


def mirrored_sentence(sentence: str) -> str:
    """The English sentence that is true of the mirror image: left and right, east and west change places.

    Whole words only, with the case of their first letters. OptiSAR-Net++'s authors mirror images and leave the
    sentences, so that what they say of sides becomes false.

    Examples:
        >>> mirrored_sentence("Right of the bright left-hand pier")
        'Left of the bright right-hand pier'
    """
    return _WORD.sub(lambda found: _exchanged(found[0]), sentence)


def mirrored_record(record: ImageRecord) -> ImageRecord:
    """The record with its boxes and sentences as its mirror image has them; masks are left as they are."""
    seen = (_mirrored(referring, record.width) for referring in record.referrings)
    return replace(record, referrings=tuple(seen))


def _mirrored(referring: Referring, width: int) -> Referring:
    def box(found: Box) -> Box:
        return width - found[0] - found[2], *found[1:]

    return replace(
        referring,
        sentences=tuple(map(mirrored_sentence, referring.sentences)),
        bbox=None if referring.bbox is None else box(referring.bbox),
        boxes=tuple(map(box, referring.boxes)),
    )


def _exchanged(word: str) -> str:
    other = _EXCHANGED.get(word.lower())
    if other is None:
        return word
    return other.capitalize() if word[0].isupper() else other
