"""Which bands of an image are the red, green and blue of the image that a model sees.

The rules, first match first:

1. The bands asked for: three, or one that is shown as gray; by number from 1, by what the file calls them, by colour,
   or by Sentinel-2's names where there are as many bands as its products have. Upper and lower case are alike, and so
   are B4, B04, SR_B4 and "Band 4".
2. Bands whose names say which are red, green and blue (`rsvl.runtime.images.band_names`): by words, by wavelengths, or
   by the numbers of a satellite's bands.
3. Bands that the file labels red, green and blue.
4. By number alone: one band is gray; of two the first is (a SAR product's VV before VH, gray before alpha); three are
   red, green and blue; more are where the file's name or tags name a satellite of so many, and 12 and 13 are
   Sentinel-2's L2A and L1C.

An alpha is no band here. Nothing is guessed of other numbers of bands: four without names may be red, green, blue and
near infrared or blue, green, red and near infrared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rsvl.runtime.errors import InputError
from rsvl.runtime.images.band_names import KNOWN, SENTINEL_2, alike, are_names, by_count, by_names

_LABELS = ("red", "green", "blue")


@dataclass(frozen=True)
class Choice:
    """The bands that are shown.

    Attributes:
        numbers: from 1: three for colour, one for gray.
        by: by what they were chosen, for people; empty where there was no choice.
        guessed: whether nobody said so.
    """

    numbers: tuple[int, ...]
    by: str = ""
    guessed: bool = False


def choose_bands(
    count: int,
    wanted: Sequence[str | int] = (),
    descriptions: Sequence[str | None] = (),
    colours: Sequence[str | None] = (),
    source: str = "the image",
    *,
    wavelengths: Sequence[float | None] = (),
    about: str = "",
) -> Choice:
    """Chooses the bands to show.

    Args:
        count: how many bands there are, without an alpha.
        wanted: the bands asked for, by number or name; none for the module's rules.
        descriptions: what the image calls each band.
        colours: what it labels each band, such as ``red``.
        source: the image, for messages.
        wavelengths: each band's centre in nanometres.
        about: the file's name and tags, in which a satellite may be named.

    Raises:
        InputError: a band that is not there, a number of bands asked for other than one and three, or an image of which
            nothing says which bands to take.
    """
    if wanted:
        if len(wanted) not in (1, 3):
            raise InputError(f"{len(wanted)} bands asked for of {source}: name three for colour, or one for gray")
        return Choice(tuple(_number(name, count, descriptions, colours, source) for name in wanted), "as asked")
    if count >= 3 and (named := by_names(descriptions, wavelengths, about)):
        return Choice(named.bands, named.by, named.by not in KNOWN)
    labelled = [(label or "").lower() for label in colours]
    if all(labelled.count(name) == 1 for name in _LABELS):
        return Choice(tuple(labelled.index(name) + 1 for name in _LABELS))
    if count == 1:
        return Choice((1,))
    if count == 2:
        return Choice((1,), "the first of two", True)
    if count == 3:
        return Choice((1, 2, 3), "the order of three bands", True)
    if not are_names(descriptions) and (usual := by_count(count, about)):
        return Choice(usual.bands, usual.by, True)
    called = [str(name) for name in descriptions if name] if are_names(descriptions) else []
    raise InputError(
        f"{source} has {count} bands and does not say which are red, green and blue: choose three with --bands, by "
        f"number{' or name: ' if called else ''}{', '.join(called)}"
    )


def _number(
    wanted: str | int, count: int, descriptions: Sequence[str | None], colours: Sequence[str | None], source: str
) -> int:
    text = str(wanted).strip()
    if text.isdigit():
        if 1 <= int(text) <= count:
            return int(text)
    else:
        for names in (descriptions, colours, SENTINEL_2.get(count, ())):
            fitting = [number for number, name in enumerate(names, start=1) if alike(text, name) and number <= count]
            if fitting:
                return fitting[0]
    called = [str(name) for name in descriptions if name] or list(SENTINEL_2.get(count, ()))
    known = f"1 to {count}" + (f", or {', '.join(called)}" if called else "")
    raise InputError(f"{source} has no band {text!r}: it has {known}")
