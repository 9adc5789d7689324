"""Which bands of a raster are the red, green and blue of the picture that a model sees.

A raster says what its bands are, if at all, by their descriptions ("B4", "red", "VV") and colour interpretation. The
rules, first match first:

1. The bands asked for: three, or one that is shown as gray; by number from 1, by description, by colour, or by
   Sentinel-2's names where there are as many bands as its products have. Upper and lower case are alike, and so are B4
   and B04.
2. Bands that are called red, green and blue, by description or colour interpretation; or B4, B3 and B2 by description.
3. By number alone: one band is gray; of two the first is (a SAR product's VV before VH, gray before alpha); of three
   and four the first three are (the fourth is near infrared or alpha); of 12 and 13, Sentinel-2's L2A and L1C, B4, B3
   and B2 are.

Nothing is guessed of other numbers of bands.
"""

from __future__ import annotations

from collections.abc import Sequence

from rsvl.runtime.errors import InputError

_L1C = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12")
#: Sentinel-2's bands in the order of its products, by their number.
_SENTINEL_2 = {13: _L1C, 12: tuple(name for name in _L1C if name != "B10")}
_COLOURS = (("red", "green", "blue"), ("b4", "b3", "b2"))


def choose_bands(
    count: int,
    wanted: Sequence[str | int] = (),
    descriptions: Sequence[str | None] = (),
    colours: Sequence[str | None] = (),
    source: str = "the image",
) -> tuple[int, ...]:
    """The numbers, from 1, of the bands to read: three for colour, one for gray.

    Args:
        count: how many bands there are.
        wanted: the bands asked for, by number or name; none for the module's rules.
        descriptions: what the raster calls each band.
        colours: each band's colour interpretation, such as ``red`` or ``alpha``.
        source: the raster, for messages.

    Raises:
        InputError: a band that is not there, a number of bands asked for other than one and three, or a raster of which
            nothing says which bands to take.
    """
    if wanted:
        if len(wanted) not in (1, 3):
            raise InputError(f"{len(wanted)} bands asked for of {source}: name three for colour, or one for gray")
        return tuple(_number(name, count, descriptions, colours, source) for name in wanted)
    named = _named(descriptions, colours)
    if named:
        return named
    if count in (1, 2):
        return (1,)
    if count in (3, 4):
        return (1, 2, 3)
    if count in _SENTINEL_2:
        return tuple(_SENTINEL_2[count].index(name) + 1 for name in ("B4", "B3", "B2"))
    raise InputError(
        f"{source} has {count} bands and does not say which are red, green and blue: choose three by number or name"
    )


def _named(descriptions: Sequence[str | None], colours: Sequence[str | None]) -> tuple[int, ...]:
    """The bands that are called red, green and blue, each exactly once; nothing where they are not."""
    described, interpreted = [_plain(d) for d in descriptions], [_plain(c) for c in colours]
    for own, names in ((described, _COLOURS[0]), (described, _COLOURS[1]), (interpreted, _COLOURS[0])):
        if all(own.count(name) == 1 for name in names):
            return tuple(own.index(name) + 1 for name in names)
    return ()


def _number(
    wanted: str | int, count: int, descriptions: Sequence[str | None], colours: Sequence[str | None], source: str
) -> int:
    text = str(wanted).strip()
    if text.isdigit():
        if 1 <= int(text) <= count:
            return int(text)
    else:
        for names in (descriptions, colours, _SENTINEL_2.get(count, ())):
            plain = [_plain(name) for name in names]
            if _plain(text) in plain:
                return plain.index(_plain(text)) + 1
    called = [str(name) for name in descriptions if name] or list(_SENTINEL_2.get(count, ()))
    known = f"1 to {count}" + (f", or {', '.join(called)}" if called else "")
    raise InputError(f"{source} has no band {text!r}: it has {known}")


def _plain(name: str | None) -> str:
    """A band's name without what spellings differ in: case, spaces, the zero in B04."""
    word = (name or "").strip().lower()
    return f"b{word[2:]}" if word.startswith("b0") and len(word) > 2 else word
