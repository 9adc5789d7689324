"""What peoples a stage: scattered objects, traffic, car parks, shipping, and clutter that has no label."""

from itertools import product, takewhile

import numpy as np

from rsvl.data.synth import craft
from rsvl.data.synth.ground import curve
from rsvl.data.synth.shapes import RGB, Polygon, Shape, rect, shade
from rsvl.data.synth.world import LAND, PAVED, ROAD, WATER, Item, World

_CONTAINER: tuple[RGB, ...] = ((150, 60, 48), (52, 84, 128), (182, 120, 60), (92, 112, 96), (176, 172, 164))


def some(world: World, category: str, low: int, high: int, allowed: int, variant: str = "") -> None:
    """Scatter between `low` and `high` objects of a category."""
    for _ in range(int(world.rng.integers(low, high + 1))):
        world.scatter(world.new_item(category, variant=variant), allowed)


def trees(world: World, low: int, high: int, allowed: int = LAND) -> None:
    """Plant loose trees and copses on free ground."""
    rng = world.rng
    radius = np.clip(world.pixels(3.5), 1.6, 14)
    for _ in range(int(rng.integers(low, high + 1))):
        cx, cy = rng.uniform(0, world.size, 2)
        for _ in range(int(rng.integers(1, 5))):
            x, y = np.array([cx, cy]) + rng.normal(0, radius * 1.6, 2)
            xi, yi = int(np.clip(x, 0, world.size - 1)), int(np.clip(y, 0, world.size - 1))
            if world.place_kind[yi, xi] & allowed and not world.taken[yi, xi]:
                world.tree(float(x), float(y), float(radius * rng.uniform(0.6, 1.3)))


def containers(world: World, stacks: int, allowed: int) -> None:
    """Rows of freight containers: coloured clutter without a label."""
    length, width = world.pixels(12), world.pixels(2.6)
    if width < 1.2:
        return
    for _ in range(stacks):
        rows, columns = (int(v) for v in world.rng.integers(2, 6, 2))
        parts: list[tuple[Polygon, RGB]] = []
        for r, c in product(range(rows), range(columns)):
            if world.rng.random() >= 0.12:
                x, y = (c - columns / 2) * length * 1.03, (r - rows / 2) * width * 1.06
                rgb = shade(_CONTAINER[int(world.rng.integers(len(_CONTAINER)))], world.rng.uniform(0.85, 1.1))
                parts.append((rect(x, y, x + length, y + width), shade(rgb, 0.8)))
                parts.append((rect(x + 0.3, y + 0.3, x + length - 0.3, y + width - 0.3), rgb))
        if not parts:
            continue
        shape = Shape([p for p, _ in parts], parts, width)
        item = Item(None, 0, 0, 0, columns * length, rows * width * 1.06, shape)
        world.scatter(item, allowed, 2.0)


def traffic(world: World, low: int, high: int) -> None:
    """Put vehicles on the lanes of the roads, heading along them."""
    rng = world.rng
    for _ in range(int(rng.integers(low, high + 1)) if world.roads else 0):
        road = world.roads[int(rng.integers(len(world.roads)))]
        variant = "truck" if rng.random() < 0.3 else "car"
        item = world.new_item("vehicle", variant=variant)
        if item is None or item.width > road.width * 0.55:
            continue
        for _ in range(8):
            k = int(rng.integers(len(road.points) - 1))
            a, b = road.points[k], road.points[k + 1]
            p = a + (b - a) * rng.random()
            side = 1 if rng.random() < 0.5 else -1
            d = (b - a) / max(1e-6, float(np.hypot(*(b - a))))
            lane = np.array([-d[1], d[0]]) * road.width * 0.25 * side
            x, y = p + lane
            if 4 < x < world.size - 4 and 4 < y < world.size - 4:
                heading = float(np.arctan2(d[1], d[0])) + (np.pi if side > 0 else 0)
                if world.at(item, x, y, heading, LAND | ROAD | PAVED | WATER):
                    break


def parking(world: World, allowed: int, low: int, high: int) -> None:
    """A marked car park with some of its bays filled."""
    rng = world.rng
    car = world.pixels(4.6)
    if car < 7:
        return
    bays, pitch, depth = int(rng.integers(4, 9)), world.pixels(2.8), world.pixels(5.4)
    lot = Item(None, 0, 0, 0, bays * pitch + 4, depth * 1.2, Shape([]), layer=0)
    for _ in range(20):
        lot.x, lot.y = rng.uniform(0.2, 0.8, 2) * world.size
        lot.angle = float(rng.uniform(0, np.pi))
        if world.fits(lot, allowed, 2.0, 0.95):
            break
    else:
        return
    parts = [(rect(-lot.length / 2, -lot.width / 2, lot.length / 2, lot.width / 2), (104, 104, 106))]
    xs = (np.arange(bays + 1) - bays / 2) * pitch
    parts += [(rect(x - 0.4, -depth / 2, x + 0.4, depth / 2), (222, 222, 216)) for x in xs]
    lot.shape = Shape([p for p, _ in parts[:1]], parts)
    world.add(lot, claim=False)
    filled = rng.permutation(bays)[: int(rng.integers(low, high + 1))]
    for k in filled:
        item = world.new_item("vehicle", variant="car")
        if item is None:
            continue
        c, s = np.cos(lot.angle), np.sin(lot.angle)
        x = (xs[k] + xs[k + 1]) / 2
        world.at(item, lot.x + c * x, lot.y + s * x, lot.angle + np.pi / 2, allowed, 0.0)


def _on_water(world: World, polygon: Polygon) -> bool:
    """Whether those corners of a polygon that are in the image are on water."""
    inside = polygon[((polygon >= 0) & (polygon < world.size)).all(1)].astype(int)
    return bool((world.place_kind[inside[:, 1], inside[:, 0]] == WATER).all())


def _foam(world: World, ship: Item) -> None:
    """Draw a ship's wake as far as the water reaches."""
    foam = Item(None, ship.x, ship.y, ship.angle, 1, 1, Shape([]), layer=0, alpha=0.55)
    wake = craft.wake(world.rng, ship.length, ship.width)
    afloat = takewhile(lambda polygon: _on_water(world, foam.place(polygon)), wake)
    foam.shape.parts = [(polygon, (222, 232, 234)) for polygon in afloat]
    world.items.append(foam)


def new_ship(world: World, length: float | None = None) -> Item | None:
    """Draw a ship: a freighter when it is long, else a boat."""
    item = world.new_item("ship", length)
    if item is None:
        return None
    variant = "cargo" if item.length * world.gsd > 45 else "boat"
    return world.new_item("ship", item.length, colour=item.colour, variant=variant)


def ships(world: World, low: int, high: int) -> None:
    """Ships and boats afloat, some under way with a wake."""
    rng = world.rng
    heading = float(rng.uniform(0, 2 * np.pi))
    for _ in range(int(rng.integers(low, high + 1))):
        item = new_ship(world)
        if item is None:
            continue
        angle = heading + rng.normal(0, 0.2) if rng.random() < 0.4 else None
        placed = world.scatter(item, WATER, angle=angle)
        if placed and rng.random() < 0.35:
            _foam(world, placed)


def buildings(world: World, styles: tuple[str, ...], low: int, high: int, allowed: int) -> None:
    """Scatter buildings, most of them aligned to a common grid."""
    rng = world.rng
    grid = float(rng.uniform(0, np.pi / 2))
    for _ in range(int(rng.integers(low, high + 1))):
        item = world.new_item("building", variant=str(rng.choice(styles)))
        angle = grid + float(rng.integers(4)) * np.pi / 2 if rng.random() < 0.6 else None
        world.scatter(item, allowed, angle=angle)


def cross_road(world: World, metres: float, bend: float = 0.25) -> None:
    """Lead a road from edge to edge, bowed sideways by up to `bend` of its length."""
    angle = world.rng.uniform(0, 2 * np.pi)
    centre = world.rng.uniform(0.25, 0.75, 2) * world.size
    reach = np.array([np.cos(angle), np.sin(angle)]) * world.size * 1.5
    world.road(curve(world.rng, centre - reach, centre + reach, bend), metres)
