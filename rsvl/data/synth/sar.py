"""The same scene as a synthetic-aperture radar sees it.

Intensity is the product of a backscatter map and multiplicative speckle. A multilook intensity image of `LOOKS` looks
has gamma-distributed speckle of unit mean and coefficient of variation 1/√LOOKS over homogeneous ground (Goodman's
fully developed speckle). Water is dark, metal and the walls that face the radar are bright and lean towards it
(layover), and what stands high casts a radar shadow away from it.
"""

import cv2
import numpy as np

from rsvl.data.synth.ground import noise
from rsvl.data.synth.paint import Painting
from rsvl.data.synth.world import PAVED, ROAD, WATER, World

#: Equivalent number of looks of the rendered image.
LOOKS = 4

#: Mean backscatter of each category's body, linear power relative to land.
_BRIGHTNESS: dict[str, float] = {
    "ship": 9.0, "airplane": 6.0, "helicopter": 6.0, "vehicle": 7.0, "storage tank": 4.0, "building": 3.5,
    "bridge": 3.0, "pier": 3.0, "windmill": 6.0, "swimming pool": 0.08, "tennis court": 0.35, "basketball court": 0.3,
    "ground track field": 0.6, "baseball field": 0.7, "roundabout": 0.5,
}  # fmt: skip
#: Backscatter of ground that is not plain land.
_WATER, _ROAD, _PAVED = 0.05, 0.22, 0.3


def backscatter(rng: np.random.Generator, world: World, painting: Painting) -> np.ndarray:
    """Mean radar return before speckle: float32 [H, W], linear power, plain land about 1."""
    size = world.size
    kind = world.place_kind
    power = np.asarray(np.clip(1 + 0.25 * noise(rng, size, 3, 5), 0.3, 3), np.float32)
    power[(kind & ROAD) > 0] = _ROAD
    power[(kind & PAVED) > 0] = _PAVED
    power[(kind & WATER) > 0] = _WATER
    look = rng.uniform(0, 2 * np.pi)
    toward = np.array([np.cos(look), np.sin(look)])  # image direction towards the radar
    for index, item in enumerate(world.items):
        if item.alpha < 1 or not item.shape.outline:
            continue
        body = painting.owner == index
        if item.category is None:
            power[body] *= 1.6
            continue
        power[body] = _BRIGHTNESS[item.category] * rng.uniform(0.7, 1.4)
    for index, item in enumerate(world.items):
        if item.category is None or item.shape.height < 1:
            continue
        body = (painting.owner == index).astype(np.uint8)
        _corner_returns(rng, power, body, item.shape.height, toward)
    return power


def _corner_returns(
    rng: np.random.Generator, power: np.ndarray, body: np.ndarray, height: float, toward: np.ndarray
) -> None:
    """Brighten the side facing the radar, lean it towards the radar, and darken the ground behind; in place."""
    size = power.shape[0]
    reach = float(np.clip(height * 0.6, 1, 12))

    def moved(by: float) -> np.ndarray:
        shift = np.array([[1, 0, toward[0] * by], [0, 1, toward[1] * by]])
        return cv2.warpAffine(body, shift, (size, size), flags=cv2.INTER_NEAREST)

    facing = (body > 0) & (moved(-1.5) == 0)
    layover = (moved(reach) > 0) & (body == 0)
    behind = (moved(-reach) > 0) & (body == 0) & ~layover
    power[behind] *= 0.3
    power[layover] = np.maximum(power[layover], 4.0)
    power[facing] = 20.0
    ys, xs = np.nonzero(facing)
    for k in rng.permutation(len(xs))[: max(1, len(xs) // 10)]:
        cv2.circle(power, (int(xs[k]), int(ys[k])), 1, 60.0, -1)


def render(rng: np.random.Generator, world: World, painting: Painting) -> np.ndarray:
    """Render the scene as an amplitude image: uint8 [H, W], square root of speckled power, bright ends clipped."""
    mean = np.asarray(cv2.GaussianBlur(backscatter(rng, world, painting), (0, 0), 0.6))
    amplitude = np.sqrt(speckled(rng, mean))
    return np.clip(amplitude * 72, 0, 255).astype(np.uint8)


def speckled(rng: np.random.Generator, power: np.ndarray) -> np.ndarray:
    """Multiply mean power, float32 [H, W], by speckle of `LOOKS` looks."""
    return power * rng.standard_gamma(LOOKS, power.shape).astype(np.float32) / LOOKS
