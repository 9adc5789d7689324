"""What names of bands mean: colours, wavelengths, and the numbers of satellites' bands.

The layouts are those of the satellites' own products: Sentinel-2 (B2, B3, B4 are blue, green, red), Landsat 8 and 9
(the same), Landsat 4 to 7 (B1, B2, B3), PlanetScope (4 bands: blue, green, red, near infrared; 8: coastal, blue, green
I, green, yellow, red, red edge, near infrared), WorldView-2 and -3 (coastal, blue, green, yellow, red, red edge, near
infrared 1 and 2), four-band products of WorldView, QuickBird, GeoEye and Gaofen (blue, green, red, near infrared), and
NAIP (red, green, blue, near infrared).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import zip_longest
from typing import NamedTuple

Rgb = tuple[int, int, int]
"""The numbers, from 1, of red, green and blue."""

POLARIZATIONS = re.compile(r"(?<![a-z])(vv|vh|hh|hv)(?![a-z])")


KNOWN = ("their names", "their wavelengths")
"""What says it outright: anything else is a guess."""


class Guess(NamedTuple):
    """Which bands are red, green and blue, and by what."""

    bands: Rgb
    by: str


class _Satellite(NamedTuple):
    name: str
    pattern: re.Pattern[str]  # in a file's name and in its tags
    numbers: Rgb | None  # which numbered names, such as B4, are red, green and blue
    layouts: dict[int, Rgb]  # by count of bands without names


_L1C = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12")
SENTINEL_2 = {13: _L1C, 12: tuple(name for name in _L1C if name != "B10")}
"""Sentinel-2's bands in the order of its products, L1C and L2A, by their count."""

_BGR = (3, 2, 1)
_SATELLITES = (
    _Satellite(
        "Landsat 4–7",
        re.compile(r"(?<![a-z0-9])(l[tem]0?[4-7]_|l[tem][4-7]\d{6}|landsat[-_ ]?[4-7](?!\d))"),
        _BGR,
        {6: _BGR, 7: _BGR},
    ),
    _Satellite(
        "Landsat 8–9",
        re.compile(r"(?<![a-z0-9])(l[co]0?[89]_|l[co][89]\d{6}|landsat[-_ ]?[89](?!\d))"),
        (4, 3, 2),
        {7: (4, 3, 2), 11: (4, 3, 2)},
    ),
    _Satellite(
        "Sentinel-2",
        re.compile(r"(?<![a-z0-9])(s2[abc]?_|l[12][ac]_t\d\d[a-z]{3}_|t\d\d[a-z]{3}_\d{8}t|sentinel-?2)"),
        (4, 3, 2),
        {12: (4, 3, 2), 13: (4, 3, 2)},
    ),
    _Satellite(
        "PlanetScope", re.compile(r"analyticms|planetscope|superdove|_3b_visual"), None, {4: _BGR, 8: (6, 4, 2)}
    ),
    _Satellite(
        "WorldView",
        re.compile(r"(?<![a-z0-9])(wv0?[234]_?|worldview|ge01|geoeye|qb02|quickbird)|-m\das|-m\dds"),
        None,
        {4: _BGR, 8: (5, 3, 2)},
    ),
    _Satellite("Gaofen", re.compile(r"(?<![a-z0-9])(gf-?[1-7][a-d]?[_ ]|gaofen)"), _BGR, {4: _BGR, 8: _BGR}),
    _Satellite("NAIP", re.compile(r"(?<![a-z0-9])(naip|m_\d{7}_[ns][ew]_)"), None, {4: (1, 2, 3)}),
)

_COLOUR_WORDS = ("red", "green", "blue")
_LETTERS = ("r", "g", "b")
_OTHER_COLOURS = re.compile(r"edge|infra|coastal|far[ _-]?red|green[ _-]?i(?![a-z])|deep|violet")
_RANGES = {"red": (620.0, 690.0), "green": (520.0, 600.0), "blue": (440.0, 515.0)}
_CENTRES = {"red": 660.0, "green": 560.0, "blue": 485.0}
_NANOMETRES = re.compile(r"(?<![\d.])(\d{3,4}(?:\.\d+)?) ?nm")
_MICROMETRES = re.compile(r"(?<![\d.])([0-2]\.\d+) ?(?:µm|μm|um|microm)")
_NUMBERED = re.compile(r"(?<![a-z0-9])b(?:and)?[ _-]?0*(\d{1,2})(a?)(?![a-z0-9])")


def by_names(descriptions: Sequence[str | None], wavelengths: Sequence[float | None], about: str) -> Guess | None:
    """Red, green and blue by what the bands are called.

    Args:
        descriptions: each band's name, or None.
        wavelengths: each band's centre in nanometres where the file says it.
        about: the file's name and tags, in which a satellite may be named.
    """
    names = [plain(name) for name in descriptions]
    return (
        _by_words(names)
        or _by_wavelength([_wavelength(name or "") or known for name, known in zip_longest(names, wavelengths)])
        or _by_numbers(names, satellite(about))
    )


def by_count(count: int, about: str) -> Guess | None:
    """Red, green and blue of bands without names, by the satellite that the file's name or tags name."""
    found = satellite(about)
    if found is not None and count in found.layouts:
        return Guess(found.layouts[count], f"{found.name}'s order of {count} bands")
    if count in SENTINEL_2:
        return Guess((4, 3, 2), f"Sentinel-2's order of {count} bands")
    return None


def satellite(about: str) -> _Satellite | None:
    """The satellite that is named, if one is and no other."""
    found = [known for known in _SATELLITES if known.pattern.search(about.lower())]
    return found[0] if len(found) == 1 else None


def plain(name: str | None) -> str:
    """A band's name without what spellings differ in: case, underscores, the zero in B04."""
    word = re.sub(r"[\s_]+", " ", (name or "").strip().lower())
    return re.sub(r"(?<![a-z0-9])b0+(?=\d)", "b", word)


def are_names(descriptions: Sequence[str | None]) -> bool:
    """Whether descriptions say more than the bands' own numbers, as "Band 1", "Band 2" … do not."""
    names = [plain(name) for name in descriptions]
    return any(names) and any(name not in (f"band {i}", f"band{i}", str(i)) for i, name in enumerate(names, start=1))


def alike(wanted: str, name: str | None) -> bool:
    """Whether a band asked for is the one of a name: the same words, the same colour, or the same number."""
    asked, known = plain(wanted), plain(name)
    if asked == known or (asked in _COLOUR_WORDS and colour(known) == asked):
        return True
    numbered = _number(asked)
    return numbered is not None and _NUMBERED.fullmatch(asked) is not None and _number(known) == numbered


def colour(name: str) -> str:
    """``red``, ``green`` or ``blue`` where a plain name says so, else empty."""
    if _OTHER_COLOURS.search(name):
        return ""
    found = [word for word in _COLOUR_WORDS if re.search(rf"(?<![a-z]){word}(?![a-z])", name)]
    return found[0] if len(found) == 1 else ""


def _by_words(names: list[str]) -> Guess | None:
    colours = [colour(name) for name in names]
    if all(colours.count(word) == 1 for word in _COLOUR_WORDS):
        red, green, blue = (colours.index(word) + 1 for word in _COLOUR_WORDS)
        return Guess((red, green, blue), KNOWN[0])
    last = [name.removeprefix("band ") for name in names]  # R, or WorldView's BAND_R
    if all(last.count(letter) == 1 for letter in _LETTERS):
        red, green, blue = (last.index(letter) + 1 for letter in _LETTERS)
        return Guess((red, green, blue), KNOWN[0])
    return None


def _wavelength(name: str) -> float | None:
    """The wavelength in nanometres that a name holds."""
    if found := _NANOMETRES.search(name):
        return float(found[1])
    if found := _MICROMETRES.search(name):
        return 1000 * float(found[1])
    return None


def _by_wavelength(wavelengths: list[float | None]) -> Guess | None:
    chosen = []
    for word in _COLOUR_WORDS:
        low, high = _RANGES[word]
        fitting = [(abs(w - _CENTRES[word]), i) for i, w in enumerate(wavelengths, start=1) if w and low <= w <= high]
        if not fitting:
            return None
        chosen.append(min(fitting)[1])
    red, green, blue = chosen
    return Guess((red, green, blue), KNOWN[1])


def _number(name: str) -> str | None:
    """The number in a plain name such as ``b4``, ``sr b4`` or ``band 4``, with Sentinel-2's letter in B8A."""
    found = _NUMBERED.search(name)
    return found[1] + found[2] if found else None


def _by_numbers(names: list[str], known: _Satellite | None) -> Guess | None:
    if not are_names(names):
        return None
    numbers = [None if re.search(r"(?<![a-z])st ", name) else _number(name) for name in names]  # ST: temperature
    held = {number for number in numbers if number is not None}
    rule = known.numbers if known and known.numbers else None
    by = f"{known.name}'s names" if known and rule else ""
    if rule is None:
        rule, by = _rule_of(held, " ".join(names))
    if rule is None or any(numbers.count(str(number)) != 1 for number in rule):
        return None
    red, green, blue = (numbers.index(str(number)) + 1 for number in rule)
    return Guess((red, green, blue), by)


def _rule_of(held: set[str], names: str) -> tuple[Rgb | None, str]:
    """Which numbers are red, green and blue where all that is known is which there are."""
    digits = {int(number) for number in held if number.isdigit()}
    if "vcid" in names or digits in ({1, 2, 3, 4, 5, 7}, {1, 2, 3, 4, 5, 7, 8}, {1, 2, 3}):
        return _BGR, "names of Landsat 4–7"
    if "8a" in held or digits & {9, 10, 11, 12} or (1 not in digits and digits >= {2, 3, 4}):
        return (4, 3, 2), "names of Sentinel-2 or Landsat 8–9"
    if "sr b" in names and digits == {1, 2, 3, 4, 5, 6, 7}:
        return (4, 3, 2), "names of Landsat 8–9"
    return None, ""
