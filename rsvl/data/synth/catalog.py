"""What the generator can draw and name: categories, colours and their words, as data."""

from dataclasses import dataclass

#: Reference sRGB of every colour word, uint8 range. Objects are painted within a few levels of these.
COLOURS: dict[str, tuple[int, int, int]] = {
    "white": (236, 236, 232),
    "gray": (132, 134, 137),
    "black": (38, 38, 42),
    "red": (186, 44, 38),
    "orange": (232, 126, 40),
    "yellow": (234, 202, 56),
    "brown": (122, 84, 56),
    "green": (48, 122, 66),
    "blue": (42, 84, 178),
}

#: Pairs of words that a viewer may swap: an object of one is neither clearly nor clearly not the other.
CONFUSABLE_COLOURS: frozenset[frozenset[str]] = frozenset(
    frozenset(pair)
    for pair in (("red", "orange"), ("red", "brown"), ("orange", "brown"), ("orange", "yellow"), ("black", "brown"))
)


@dataclass(frozen=True)
class Category:
    """One kind of object.

    Attributes:
        name: the category's name, RRSIS-D's own where it has the category.
        id: COCO category id, 1-based.
        nouns: words for it in expressions, all true of every object of the category.
        length: real length along the main axis, metres, smallest and largest.
        aspect: width / length, smallest and largest.
        colours: the colour words it comes in; fewer than two means that its colour is never mentioned.
        height: height above ground as a share of the width, for shadows and SAR.
        elongated: whether "long" and "short" describe it better than "large" and "small".
    """

    name: str
    id: int
    nouns: tuple[str, ...]
    length: tuple[float, float]
    aspect: tuple[float, float]
    colours: tuple[str, ...] = ()
    height: float = 0.0
    elongated: bool = False


_ALL = (
    Category("airplane", 1, ("airplane", "plane", "aircraft"), (14, 68), (0.86, 1.0),
             ("white", "white", "gray", "blue", "yellow", "red"), 0.09),
    Category("ship", 2, ("ship", "vessel", "boat"), (8, 220), (0.17, 0.32),
             ("white", "gray", "red", "blue", "black", "green", "orange"), 0.25),
    Category("vehicle", 3, ("vehicle",), (4.0, 14.0), (0.40, 0.46),
             ("white", "gray", "black", "red", "blue", "yellow"), 0.45),
    Category("storage tank", 4, ("storage tank", "tank", "oil tank"), (10, 80), (1.0, 1.0),
             ("white", "gray", "brown", "green"), 0.40),
    Category("tennis court", 5, ("tennis court",), (34, 37), (0.50, 0.54), ("green", "blue", "red")),
    Category("basketball court", 6, ("basketball court",), (26, 32), (0.54, 0.60),
             ("orange", "gray", "blue", "green", "red")),
    Category("ground track field", 7, ("ground track field", "running track", "athletics track"), (120, 180),
             (0.50, 0.58)),
    Category("baseball field", 8, ("baseball field", "baseball diamond"), (40, 85), (1.39, 1.39)),
    Category("swimming pool", 9, ("swimming pool", "pool"), (8, 40), (0.42, 0.70)),
    Category("roundabout", 10, ("roundabout", "traffic circle"), (26, 80), (1.0, 1.0)),
    Category("bridge", 11, ("bridge",), (40, 400), (0.06, 0.16), height=0.5, elongated=True),
    Category("pier", 12, ("pier", "jetty", "dock"), (30, 240), (0.08, 0.2), ("gray", "brown"), 0.2, True),
    Category("windmill", 13, ("windmill", "wind turbine"), (60, 120), (0.85, 0.9), height=0.3),
    Category("building", 14, ("building",), (9, 90), (0.45, 0.95),
             ("red", "gray", "white", "brown", "blue"), 0.30),
    Category("helicopter", 15, ("helicopter", "chopper"), (11, 20), (0.78, 0.86),
             ("white", "black", "red", "yellow", "green"), 0.12),
)  # fmt: skip

#: Every category by name, in order of id.
CATEGORIES: dict[str, Category] = {category.name: category for category in _ALL}

#: Nouns that are true of only some objects of a category: variant → (category, nouns).
VARIANT_NOUNS: dict[str, tuple[str, tuple[str, ...]]] = {
    "car": ("vehicle", ("car",)),
    "truck": ("vehicle", ("truck", "lorry")),
}
