"""Turns a stage into an image and masks of what is visible of each object."""

from dataclasses import dataclass

import cv2
import numpy as np

from rsvl.data.synth.ground import noise
from rsvl.data.synth.shapes import Polygon
from rsvl.data.synth.world import Item, World

#: Objects are painted at this many sub-pixels a side, then averaged.
SUPERSAMPLING = 2
_SHIFT = 4
#: A pixel belongs to the object that has this many of its four sub-pixels. OpenCV fills a polygon with its border, half
#: a sub-pixel too wide on each side; three of four makes up for it and leaves no ties.
_MAJORITY = 3


@dataclass
class Painting:
    """A painted scene.

    Attributes:
        image: uint8 [H, W, 3] RGB.
        masks: visible mask of each labelled item, in the order of `items`: bool [H, W].
        visible: visible share of each whole silhouette, hidden and cut-off parts included, 0–1.
        items: the labelled items.
        shadow: float32 [H, W], share of each pixel in shadow.
        owner: int32 [H, W], index into World.items of the topmost item, −1 on bare ground.
    """

    image: np.ndarray
    masks: list[np.ndarray]
    visible: list[float]
    items: list[Item]
    shadow: np.ndarray
    owner: np.ndarray


def _fixed(polygon: Polygon, offset: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """Convert image coordinates to sub-pixel fixed-point coordinates of the supersampled canvas."""
    scaled = (polygon - np.asarray(offset)) * SUPERSAMPLING - 0.5
    return np.round(scaled * (1 << _SHIFT)).astype(np.int32)


def paint(world: World) -> Painting:
    """Paint every item over the ground, lowest layer first."""
    big = world.size * SUPERSAMPLING
    sun = world.rng.uniform(0, 2 * np.pi)
    cast = np.array([np.cos(sun), np.sin(sun)]) * world.rng.uniform(0.7, 1.4)
    depth = world.rng.uniform(0.42, 0.6)
    base = np.clip(world.ground, 0, 255).astype(np.uint8)
    canvas = np.repeat(np.repeat(base, SUPERSAMPLING, 0), SUPERSAMPLING, 1)
    shadow = np.zeros((big, big), np.uint8)
    owner = np.full((big, big), -1, np.int16)
    order = sorted(range(len(world.items)), key=lambda i: world.items[i].layer)
    for i in order:
        item = world.items[i]
        if item.alpha < 1:
            _paint_translucent(canvas, item)
            continue
        _paint_shadow(canvas, shadow, item, cast, depth)
        for polygon, rgb in item.shape.parts:
            cv2.fillPoly(canvas, [_fixed(item.place(polygon))], rgb, cv2.LINE_AA, _SHIFT)
        for polygon in item.shape.outline:
            cv2.fillPoly(owner, [_fixed(item.place(polygon))], i, cv2.LINE_8, _SHIFT)
    image = cv2.resize(canvas, (world.size, world.size), interpolation=cv2.INTER_AREA)
    labelled = [i for i in order if world.items[i].category is not None]
    masks, shares = [], []
    for i in labelled:
        own = owner == i
        cover = cv2.resize(own.view(np.uint8) * 4, (world.size, world.size), interpolation=cv2.INTER_AREA)
        masks.append(cover >= _MAJORITY)
        seen = np.count_nonzero(own) / SUPERSAMPLING**2
        shares.append(min(1.0, seen / _silhouette_area(world.items[i])))
    half = cv2.resize(shadow, (world.size, world.size), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    taken = _camera(world.rng, image)
    top = owner[::SUPERSAMPLING, ::SUPERSAMPLING].astype(np.int32)
    return Painting(taken, masks, shares, [world.items[i] for i in labelled], half, top)


def _silhouette_area(item: Item) -> float:
    """Area in pixels of an item's whole silhouette, whether in the frame or not."""
    polygons = [item.place(p) for p in item.shape.outline]
    lo = np.floor(np.min([p.min(0) for p in polygons], 0)) - 1  # whole pixels: the same raster as the image
    hi = np.max([p.max(0) for p in polygons], 0) + 1
    w, h = np.ceil((hi - lo) * SUPERSAMPLING).astype(int)
    local = np.zeros((h, w), np.uint8)
    for polygon in polygons:
        cv2.fillPoly(local, [_fixed(polygon, (lo[0], lo[1]))], 1, cv2.LINE_8, _SHIFT)
    return float(np.count_nonzero(local)) / SUPERSAMPLING**2


def _paint_shadow(canvas: np.ndarray, shadow: np.ndarray, item: Item, cast: np.ndarray, depth: float) -> None:
    """Darken what the item's outline, swept along the sun's direction, covers."""
    offset = cast * item.shape.height
    if np.hypot(*offset) < 0.4:
        return
    swept = []
    for polygon in item.shape.outline:
        placed = item.place(polygon)
        if item.shape.raised:
            swept.append(_fixed(placed + offset))
        else:
            swept.append(cv2.convexHull(_fixed(np.concatenate([placed, placed + offset]))).reshape(-1, 2))
    points = np.concatenate(swept) >> _SHIFT
    x0, y0 = np.maximum(points.min(0) - 2, 0)
    x1, y1 = np.minimum(points.max(0) + 3, canvas.shape[0])
    if x1 <= x0 or y1 <= y0:
        return
    local = np.zeros((y1 - y0, x1 - x0), np.uint8)
    for polygon in swept:
        cv2.fillPoly(local, [polygon - (np.array([x0, y0]) << _SHIFT).astype(np.int32)], 255, cv2.LINE_AA, _SHIFT)
    patch = canvas[y0:y1, x0:x1]
    already = shadow[y0:y1, x0:x1]
    fresh = np.where(local > already, local - already, 0).astype(np.float32)
    patch[:] = (patch * (1 - depth * fresh / 255)[..., None]).astype(np.uint8)
    np.maximum(already, local, out=already)


def _paint_translucent(canvas: np.ndarray, item: Item) -> None:
    """Lay an item's parts over the canvas with its alpha fading from first part to last."""
    n = len(item.shape.parts)
    for k, (polygon, rgb) in enumerate(item.shape.parts):
        xy = _fixed(item.place(polygon))
        lo = np.maximum((xy.min(0) >> _SHIFT) - 1, 0)
        hi = np.minimum((xy.max(0) >> _SHIFT) + 2, canvas.shape[0])
        if (hi <= lo).any():
            continue
        patch = canvas[lo[1] : hi[1], lo[0] : hi[0]]
        over = patch.copy()
        cv2.fillPoly(over, [xy - (lo << _SHIFT).astype(np.int32)], rgb, cv2.LINE_AA, _SHIFT)
        a = item.alpha * (1 - k / n)
        cv2.addWeighted(over, a, patch, 1 - a, 0, patch)


def _camera(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Grain, slight blur, exposure and tint of a sensor: uint8 in, uint8 out."""
    out = image.astype(np.float32)
    size = image.shape[0]
    out += noise(rng, size, coarsest=4, octaves=2)[..., None] * rng.uniform(0, 4)
    sigma = rng.uniform(0.2, 0.7)
    if sigma > 0.3:
        out = np.asarray(cv2.GaussianBlur(out, (0, 0), sigma))
    out += rng.standard_normal(image.shape, dtype=np.float32) * rng.uniform(1.5, 5)
    gain = rng.uniform(0.9, 1.08) * rng.uniform(0.97, 1.03, 3)
    return np.clip(out * gain.astype(np.float32) + rng.uniform(-6, 6), 0, 255).astype(np.uint8)
