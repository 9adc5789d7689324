"""Crisp rules of what is where in a scene, from masks and pixels alone.

They share no code with the generator, which answers "true", "false" or "borderline" and speaks only of what is clear:
here one threshold stands in the middle of each of its margins, so a margin that fails to hold shows as a wrong answer.
"""

import colorsys

import numpy as np

from rsvl.data.synth import SceneObject

AXES = {"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1)}


def centre(thing: SceneObject) -> np.ndarray:
    """The centre (x, y) of an object's box, pixels."""
    ys, xs = np.nonzero(thing.mask)
    return np.array([xs.min() + xs.max() + 1, ys.min() + ys.max() + 1]) / 2


def colour_word(rgb: np.ndarray) -> str:
    """Name a colour by brightness, saturation and hue."""
    hue, saturation, value = colorsys.rgb_to_hsv(*(rgb / 255))
    if value < 0.31:
        return "black"
    if saturation < 0.22:
        return "white" if value > 0.72 else "gray"
    if 12 <= hue * 360 < 43 and value < 0.62:
        return "brown"
    bounds = {12: "red", 38: "orange", 70: "yellow", 180: "green", 270: "blue", 361: "red"}
    return next(word for bound, word in bounds.items() if hue * 360 < bound)


def in_zone(thing: SceneObject, zone: str) -> bool:
    """Whether an object's centre lies in a part of the image, such as "left" or "top left"."""
    x, y = centre(thing) / thing.mask.shape[0]
    if zone == "middle":
        return max(abs(x - 0.5), abs(y - 0.5)) < 0.15
    share = {"left": x, "right": 1 - x, "top": y, "bottom": 1 - y}
    return all(share[word] < 0.36 for word in zone.split())


def beside(thing: SceneObject, direction: str, landmark: SceneObject) -> bool:
    """Whether an object lies to a side of another: within 55 degrees of it."""
    dx, dy = centre(thing) - centre(landmark)
    ax, ay = AXES[direction]
    return bool(dx * ax + dy * ay > np.cos(np.radians(55)) * np.hypot(dx, dy))
