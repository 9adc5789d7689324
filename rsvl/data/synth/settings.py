"""The kinds of place that a scene can show, and how often."""

from collections.abc import Callable

import numpy as np

from rsvl.data.synth.inland import airport, countryside, industrial, junction, residential, sports
from rsvl.data.synth.shores import harbour, open_water, river
from rsvl.data.synth.world import World

#: Every setting with its share of the scenes.
SETTINGS: dict[str, tuple[Callable[[np.random.Generator, int], World], float]] = {
    "harbour": (harbour, 0.17),
    "open water": (open_water, 0.07),
    "airport": (airport, 0.16),
    "residential": (residential, 0.13),
    "countryside": (countryside, 0.10),
    "industrial": (industrial, 0.11),
    "junction": (junction, 0.09),
    "river": (river, 0.09),
    "sports": (sports, 0.10),
}
