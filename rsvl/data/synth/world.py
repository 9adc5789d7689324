"""The stage: ground, what kind of place each pixel is, and where objects have been put."""

from dataclasses import dataclass, field

import cv2
import numpy as np

from rsvl.data.synth import craft, structures
from rsvl.data.synth.catalog import CATEGORIES, COLOURS
from rsvl.data.synth.ground import blend, fields, strip, texture
from rsvl.data.synth.shapes import RGB, Polygon, Shape, disc, rect, rotate, shade

#: Kinds of place, as bits.
LAND, WATER, ROAD, PAVED = 1, 2, 4, 8

_DRAW = {
    "airplane": craft.airplane,
    "helicopter": craft.helicopter,
    "ship": craft.ship,
    "vehicle": craft.vehicle,
    **{
        name: getattr(structures, name.replace(" ", "_"))
        for name in (
            "storage tank", "tennis court", "basketball court", "ground track field", "baseball field",
            "swimming pool", "roundabout", "bridge", "pier", "windmill", "building",
        )
    },
}  # fmt: skip


@dataclass
class Item:
    """Something drawn on the stage: a labelled object, or clutter when `category` is None.

    Positions and sizes are in pixels of the final image; `angle` in radians, clockwise from the x axis.
    """

    category: str | None
    x: float
    y: float
    angle: float
    length: float
    width: float
    shape: Shape
    colour: str | None = None
    variant: str = ""
    layer: int = 1
    alpha: float = 1.0

    @property
    def obb(self) -> tuple[float, float, float, float, float]:
        """Oriented box: centre x, centre y, length, width (pixels), angle (degrees, clockwise from the x axis)."""
        return float(self.x), float(self.y), float(self.length), float(self.width), float(np.degrees(self.angle) % 360)

    def place(self, polygon: Polygon) -> Polygon:
        """Move a polygon from the object's frame to the image's."""
        return rotate(polygon, self.angle) + np.array([self.x, self.y])


@dataclass
class Road:
    """A driveable polyline [n, 2] with its width in pixels."""

    points: np.ndarray
    width: float


@dataclass
class World:
    """State of a scene under construction.

    Attributes:
        size: side of the image, pixels.
        gsd: ground sampling distance, metres a pixel.
        rng: the only source of randomness.
        ground: float32 [size, size, 3], RGB 0–255.
        place_kind: uint8 [size, size], one of LAND, WATER, ROAD, PAVED.
        taken: uint8 [size, size], non-zero where something stands.
        items: everything to draw, clutter included.
        roads: where vehicles may drive.
    """

    size: int
    gsd: float
    rng: np.random.Generator
    ground: np.ndarray
    place_kind: np.ndarray
    taken: np.ndarray
    items: list[Item] = field(default_factory=list)
    roads: list[Road] = field(default_factory=list)

    def pixels(self, metres: float) -> float:
        """Convert a length on the ground to pixels."""
        return metres / self.gsd

    def new_item(
        self,
        category: str,
        length: float | None = None,
        aspect: float | None = None,
        colour: str | None = None,
        variant: str = "",
    ) -> Item | None:
        """Draw an object of the category at the origin, or None when it would be too small or too large to see.

        Args:
            category: name in the catalogue.
            length: pixels; by default a real length of the category at this scene's scale.
            aspect: width / length; by default within the category's range.
            colour: colour word; by default any of the category's.
            variant: subtype that the drawing understands.
        """
        rng, kind = self.rng, CATEGORIES[category]
        if length is None:
            low, high = kind.length
            if variant == "car":
                high = 5.2
            elif variant == "truck":
                low = 8.5
            length = self.pixels(float(np.exp(rng.uniform(np.log(low), np.log(high)))))
        if not 5.5 <= length <= 0.95 * self.size:
            return None
        length = max(8.0, length)
        width = length * (rng.uniform(*kind.aspect) if aspect is None else aspect)
        if kind.colours and colour is None:
            colour = str(rng.choice(kind.colours))
        rgb: RGB = (128, 128, 128)
        if colour is not None:
            jitter = rng.integers(-7, 8, 3)
            r, g, b = (int(np.clip(c + j, 0, 255)) for c, j in zip(COLOURS[colour], jitter, strict=True))
            rgb = (r, g, b)
        shape = _DRAW[category](rng, length, width, rgb, variant)
        mentioned = colour if len(set(kind.colours)) > 1 else None
        return Item(category, 0, 0, 0, length, width, shape, mentioned, variant)

    def footprint(self, item: Item, margin: float = 0.0) -> Polygon:
        """Oriented box of an item, grown by a margin on each side: [4, 2]."""
        h, w = item.length / 2 + margin, item.width / 2 + margin
        return item.place(rect(-h, -w, h, w))

    def fits(self, item: Item, allowed: int, margin: float, inside: float = 0.75) -> bool:
        """Whether the item stands on allowed ground, clear of others, and mostly within the image."""
        polygon = self.footprint(item, margin)
        lo = np.floor(polygon.min(0)).astype(int) - 1
        hi = np.ceil(polygon.max(0)).astype(int) + 2
        x0, y0 = max(0, lo[0]), max(0, lo[1])
        x1, y1 = min(self.size, hi[0]), min(self.size, hi[1])
        if x1 <= x0 or y1 <= y0:
            return False
        local = np.zeros((y1 - y0, x1 - x0), np.uint8)
        cv2.fillPoly(local, [np.round(polygon - [x0, y0]).astype(np.int32)], 1)
        area = cv2.contourArea(polygon.astype(np.float32))
        if local.sum() < inside * area:
            return False
        here = local > 0
        wrong = (self.place_kind[y0:y1, x0:x1] & allowed) == 0
        return not (self.taken[y0:y1, x0:x1][here].any() or wrong[here].any())

    def add(self, item: Item, margin: float = 0.0, claim: bool = True) -> Item:
        """Put an item on the stage and, unless it may be built upon, claim its footprint."""
        self.items.append(item)
        if claim:
            cv2.fillPoly(self.taken, [np.round(self.footprint(item, margin)).astype(np.int32)], 1)
        return item

    def scatter(
        self, item: Item | None, allowed: int, margin: float = 3.0, angle: float | None = None, tries: int = 24
    ) -> Item | None:
        """Find a free place of an allowed kind for an item; None when there is none."""
        if item is None:
            return None
        edge = min(0.12, 0.3 * item.length / self.size + 0.02) * self.size
        for _ in range(tries):
            item.x, item.y = self.rng.uniform(edge, self.size - edge, 2)
            item.angle = float(self.rng.uniform(0, 2 * np.pi)) if angle is None else angle
            if self.fits(item, allowed, margin):
                return self.add(item, margin)
        return None

    def at(self, item: Item | None, x: float, y: float, angle: float, allowed: int, margin: float = 1.5) -> Item | None:
        """Put an item at one place if it fits there."""
        if item is None:
            return None
        item.x, item.y, item.angle = float(x), float(y), float(angle)
        return self.add(item, margin) if self.fits(item, allowed, margin) else None

    def road(self, points: np.ndarray, metres: float, rgb: RGB = (98, 98, 101), lines: bool = True) -> Road:
        """Pave a road along a polyline, with its edge and lane lines."""
        width = max(3.0, self.pixels(metres))
        blend(self.ground, shade(rgb, 1.25), strip(self.size, points, width * 1.18))
        cover = strip(self.size, points, width)
        blend(self.ground, np.asarray(rgb, np.float32) + self.rng.normal(0, 3), cover)
        self.place_kind[cover > 0.5] = ROAD
        if lines and width > 6:
            self._lane_lines(points, width)
        road = Road(points, width)
        self.roads.append(road)
        return road

    def _lane_lines(self, points: np.ndarray, width: float) -> None:
        """Dash the middle of a road."""
        steps = np.hypot(*np.diff(points, axis=0).T)
        at = np.concatenate([[0], np.cumsum(steps)])
        dash = max(4.0, width * 0.45)
        for start in np.arange(0, at[-1], 2 * dash):
            s = np.array([start, min(start + dash, at[-1])])
            ends = np.stack([np.interp(s, at, points[:, 0]), np.interp(s, at, points[:, 1])], 1)
            xy = np.round(ends * 16).astype(np.int32)
            cv2.line(
                self.ground,
                xy[0].tolist(),
                xy[1].tolist(),
                (226, 224, 214),
                max(1, round(width * 0.06)),
                cv2.LINE_AA,
                4,
            )

    def tree(self, x: float, y: float, radius: float) -> None:
        """Plant a tree: clutter that may hide part of an object."""
        tone = self.rng.uniform(0.8, 1.25)
        crown = disc(0, 0, radius, n=10) * self.rng.uniform(0.8, 1.15, (10, 1))
        parts = [(crown, shade((44, 80, 42), tone)), (crown * 0.6 - radius * 0.15, shade((62, 104, 54), tone))]
        self.items.append(Item(None, x, y, 0, radius * 2, radius * 2, Shape([crown], parts, radius * 0.9), layer=3))


def open_world(rng: np.random.Generator, size: int, extent: tuple[float, float], ground: str, kind: int) -> World:
    """Open a stage on one kind of ground.

    Args:
        rng: the source of randomness.
        size: side of the image, pixels.
        extent: smallest and largest side of the scene, metres; drawn log-uniformly.
        ground: a key of `GROUNDS`, or "fields".
        kind: what kind of place the ground is.
    """
    metres = float(np.exp(rng.uniform(np.log(extent[0]), np.log(extent[1]))))
    canvas = fields(rng, size) if ground == "fields" else texture(rng, size, ground)
    kinds = np.full((size, size), kind, np.uint8)
    return World(size, metres / size, rng, canvas, kinds, np.zeros_like(kinds))
