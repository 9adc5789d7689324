"""The places a scene can show: each lays out ground, roads and water, and peoples them with what belongs there."""

from collections.abc import Callable
from itertools import takewhile

import cv2
import numpy as np

from rsvl.data.synth import craft
from rsvl.data.synth.ground import blend, curve, fields, noise, strip, texture
from rsvl.data.synth.shapes import RGB, Polygon, Shape, rect, shade
from rsvl.data.synth.world import LAND, PAVED, ROAD, WATER, Item, World

_WATERS = ("deep water", "deep water", "green water", "muddy water")
_CONTAINER: tuple[RGB, ...] = ((150, 60, 48), (52, 84, 128), (182, 120, 60), (92, 112, 96), (176, 172, 164))


def _world(rng: np.random.Generator, size: int, extent: tuple[float, float], ground: str, kind: int) -> World:
    """Open a stage of a real extent (metres, drawn log-uniformly) on one kind of ground."""
    metres = float(np.exp(rng.uniform(np.log(extent[0]), np.log(extent[1]))))
    canvas = fields(rng, size) if ground == "fields" else texture(rng, size, ground)
    return World(
        size, metres / size, rng, canvas, np.full((size, size), kind, np.uint8), np.zeros((size, size), np.uint8)
    )


def _some(
    world: World, category: str, low: int, high: int, allowed: int, variant: str = "", margin: float = 3.0
) -> None:
    """Scatter between `low` and `high` objects of a category."""
    n = int(world.rng.integers(low, high + 1))
    for _ in range(n):
        world.scatter(world.new_item(category, variant=variant), allowed, margin)


def _trees(world: World, low: int, high: int, allowed: int = LAND) -> None:
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


def _containers(world: World, stacks: int, allowed: int) -> None:
    """Rows of freight containers: coloured clutter without a label."""
    length, width = world.pixels(12), world.pixels(2.6)
    if width < 1.2:
        return
    for _ in range(stacks):
        rows, columns = (int(v) for v in world.rng.integers(2, 6, 2))
        parts = []
        for r in range(rows):
            for c in range(columns):
                if world.rng.random() < 0.12:
                    continue
                x, y = (c - columns / 2) * length * 1.03, (r - rows / 2) * width * 1.06
                rgb = shade(_CONTAINER[int(world.rng.integers(len(_CONTAINER)))], world.rng.uniform(0.85, 1.1))
                parts.append((rect(x, y, x + length, y + width), shade(rgb, 0.8)))
                parts.append((rect(x + 0.3, y + 0.3, x + length - 0.3, y + width - 0.3), rgb))
        if not parts:
            continue
        shape = Shape([p for p, _ in parts], parts, width)
        item = Item(None, 0, 0, 0, columns * length, rows * width * 1.06, shape)
        world.scatter(item, allowed, 2.0)


def _traffic(world: World, low: int, high: int) -> None:
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


def _parking(world: World, allowed: int, low: int, high: int) -> None:
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


def _ships(world: World, low: int, high: int) -> None:
    """Ships and boats afloat, some under way with a wake."""
    rng = world.rng
    heading = float(rng.uniform(0, 2 * np.pi))
    for _ in range(int(rng.integers(low, high + 1))):
        item = world.new_item("ship")
        if item is None:
            continue
        real = item.length * world.gsd
        item = world.new_item("ship", item.length, colour=item.colour, variant="cargo" if real > 45 else "boat")
        angle = heading + rng.normal(0, 0.2) if rng.random() < 0.4 else None
        placed = world.scatter(item, WATER, 3.0, angle)
        if placed and rng.random() < 0.35:
            _foam(world, placed)


def _variants(world: World, category: str, styles: tuple[str, ...], low: int, high: int, allowed: int) -> None:
    """Scatter buildings, aligned to a common grid half of the time."""
    rng = world.rng
    grid = float(rng.uniform(0, np.pi / 2))
    for _ in range(int(rng.integers(low, high + 1))):
        item = world.new_item(category, variant=str(rng.choice(styles)))
        angle = grid + float(rng.integers(4)) * np.pi / 2 if rng.random() < 0.6 else None
        world.scatter(item, allowed, 3.0, angle)


def _cross_road(world: World, metres: float, bend: float = 0.25, through: tuple[float, float] | None = None) -> None:
    """Lead a road from edge to edge, through a point when one is given."""
    rng, s = world.rng, world.size
    angle = rng.uniform(0, 2 * np.pi)
    centre = np.array(through) if through else rng.uniform(0.25, 0.75, 2) * s
    d = np.array([np.cos(angle), np.sin(angle)]) * s * 1.5
    if through:
        world.road(np.stack([centre - d, centre, centre + d]), metres)
    else:
        world.road(curve(rng, centre - d, centre + d, bend), metres)


def harbour(rng: np.random.Generator, size: int) -> World:
    """Coast with piers, ships at berth and afloat, storage and buildings ashore."""
    world = _world(rng, size, (90, 600), str(rng.choice(_WATERS)), WATER)
    angle = rng.uniform(0, 2 * np.pi)
    inland = np.array([np.cos(angle), np.sin(angle)])
    along = np.array([-inland[1], inland[0]])
    yy, xx = np.mgrid[0:size, 0:size].astype(np.float32)
    shore = rng.uniform(0.02, 0.22) * size
    depth = (xx - size / 2) * inland[0] + (yy - size / 2) * inland[1] - shore
    quay = rng.random() < 0.5
    rough = depth if quay else depth + noise(rng, size, 2, 4) * size * 0.03
    land = rough > 0
    ashore = str(
        rng.choice(["concrete", "grass", "dry grass", "sand"] if not quay else ["concrete", "asphalt", "dry grass"])
    )
    blend(world.ground, texture(rng, size, ashore), np.clip(rough / 1.5 + 0.5, 0, 1))
    edge = np.clip(1 - np.abs(rough - 1) / 2.2, 0, 1)
    blend(world.ground, (190, 186, 172) if quay else (214, 204, 172), edge * 0.9)
    world.place_kind[land] = PAVED if ashore in ("concrete", "asphalt") else LAND
    for _ in range(int(rng.integers(1, 4))):
        pier = world.new_item("pier")
        if pier is None:
            continue
        foot = np.array([size / 2] * 2) + inland * (shore + 4) + along * rng.uniform(-0.45, 0.45) * size
        slant = rng.normal(0, 0.12)
        out = -np.array([np.cos(angle + slant), np.sin(angle + slant)])
        pier.x, pier.y = foot + out * pier.length / 2
        pier.angle, pier.layer = float(np.arctan2(out[1], out[0])), 0
        if not world.fits(pier, WATER | LAND | PAVED, 4, 0.6):
            continue
        world.add(pier, 1)
        across = np.array([-out[1], out[0]])
        for side in (1, -1):
            if rng.random() < 0.6:
                ship = world.new_item("ship", float(np.clip(pier.length * rng.uniform(0.3, 0.9), 8, size * 0.6)))
                if ship is None:
                    continue
                ship = world.new_item("ship", ship.length, colour=ship.colour,
                                      variant="cargo" if ship.length * world.gsd > 45 else "boat")  # fmt: skip
                assert ship is not None
                gap = (pier.width + ship.width) / 2 + 3.5
                spot = np.array([pier.x, pier.y]) + across * side * gap + out * pier.length * 0.1
                world.at(ship, spot[0], spot[1], pier.angle + (np.pi if rng.random() < 0.5 else 0), WATER)
    _ships(world, 2, 5)
    if rng.random() < 0.6:
        offset = np.array([size / 2] * 2) + inland * (shore + rng.uniform(0.12, 0.22) * size)
        world.road(np.stack([offset - along * size, offset + along * size]), 9)
    _some(world, "storage tank", 0, 2, LAND | PAVED)
    _variants(world, "building", ("flat", "gable", "flat"), 1, 3, LAND | PAVED)
    _containers(world, int(rng.integers(0, 3)), LAND | PAVED)
    _traffic(world, 0, 3)
    _trees(world, 0, 6)
    return world


def open_water(rng: np.random.Generator, size: int) -> World:
    """Nothing but ships, and sometimes an islet."""
    world = _world(rng, size, (60, 700), str(rng.choice(_WATERS)), WATER)
    if rng.random() < 0.35:
        yy, xx = np.mgrid[0:size, 0:size].astype(np.float32)
        cx, cy = rng.uniform(0, size, 2)
        rough = rng.uniform(0.1, 0.25) * size - np.hypot(xx - cx, yy - cy) + noise(rng, size, 3, 4) * size * 0.03
        blend(world.ground, (212, 202, 168), np.clip(rough / 2 + 1.5, 0, 1))
        blend(world.ground, texture(rng, size, "forest"), np.clip(rough / 4 - 0.5, 0, 1))
        world.place_kind[rough > -3] = LAND
        if rng.random() < 0.5:
            _variants(world, "building", ("gable", "flat"), 1, 2, LAND)
    _ships(world, 4, 8)
    return world


def airport(rng: np.random.Generator, size: int) -> World:
    """Apron, taxiway and runway with aircraft, helicopters, service vehicles and a terminal."""
    world = _world(rng, size, (70, 480), str(rng.choice(["grass", "dry grass"])), LAND)
    angle = rng.uniform(0, np.pi)
    d = np.array([np.cos(angle), np.sin(angle)])
    n = np.array([-d[1], d[0]])
    yy, xx = np.mgrid[0:size, 0:size].astype(np.float32)
    across = (xx - size / 2) * n[0] + (yy - size / 2) * n[1]
    apron = (across > -0.22 * size).astype(np.float32)
    blend(world.ground, texture(rng, size, str(rng.choice(["concrete", "concrete", "asphalt"]))), apron)
    world.place_kind[apron > 0.5] = PAVED
    joint = max(8.0, world.pixels(12))
    along = (xx - size / 2) * d[0] + (yy - size / 2) * d[1]
    seams = ((np.mod(across, joint) < 0.9) | (np.mod(along, joint) < 0.9)).astype(np.float32) * apron
    blend(world.ground, (128, 128, 126), seams * 0.4)
    if rng.random() < 0.8:
        centre = np.array([size / 2] * 2) - n * rng.uniform(0.32, 0.42) * size
        ends = np.stack([centre - d * size, centre + d * size])
        blend(world.ground, (84, 85, 88), strip(size, ends, np.clip(world.pixels(30), 12, 0.3 * size)))
        step = np.clip(world.pixels(12), 6, 40)
        for t in np.arange(-size, size, 2 * step):
            blend(world.ground, (226, 226, 220), strip(size, np.stack([centre + d * t, centre + d * (t + step)]),
                                                       max(1.0, world.pixels(0.9))))  # fmt: skip
    for _ in range(int(rng.integers(1, 3))):
        line = np.array([size / 2] * 2) + n * rng.uniform(-0.1, 0.4) * size
        blend(world.ground, (216, 180, 60), strip(size, np.stack([line - d * size, line + d * size]), 1) * 0.8)
    if rng.random() < 0.6:
        hall = world.new_item("building", variant="flat")
        if hall:
            spot = np.array([size / 2] * 2) + n * (0.48 * size - hall.width / 2) + d * rng.uniform(-0.25, 0.25) * size
            world.at(hall, spot[0], spot[1], angle, PAVED)
    heading = angle + np.pi / 2 * float(rng.integers(4))
    for _ in range(int(rng.integers(2, 7))):
        world.scatter(
            world.new_item("airplane"), PAVED, 2.0, heading + rng.normal(0, 0.1) if rng.random() < 0.5 else None
        )
    _some(world, "helicopter", 0, 2, PAVED | LAND)
    for variant in ("car", "truck"):
        _some(world, "vehicle", 0, 3, PAVED, variant)
    _variants(world, "building", ("flat", "flat", "gable"), 0, 1, PAVED)
    return world


def residential(rng: np.random.Generator, size: int) -> World:
    """Streets of houses with pools, courts, cars and trees."""
    world = _world(rng, size, (45, 240), str(rng.choice(["grass", "grass", "dry grass"])), LAND)
    angle = rng.uniform(0, np.pi)
    d = np.array([np.cos(angle), np.sin(angle)])
    n = np.array([-d[1], d[0]])
    middle = np.array([size / 2] * 2)
    for k in range(int(rng.integers(1, 3))):
        offset = middle + n * rng.uniform(-0.35, 0.35) * size if k == 0 else middle + d * rng.uniform(-0.3, 0.3) * size
        way = d if k == 0 else n
        world.road(curve(rng, offset - way * size, offset + way * size, 0.06), rng.uniform(6, 9))
    styles = ("gable", "hip", "gable", "flat", "ell")
    for _ in range(int(rng.integers(2, 6))):
        house = world.new_item("building", world.pixels(rng.uniform(9, 26)), variant=str(rng.choice(styles)))
        world.scatter(house, LAND, 4.0, angle + float(rng.integers(4)) * np.pi / 2)
    _some(world, "swimming pool", 0, 3, LAND)
    if rng.random() < 0.4:
        _some(world, str(rng.choice(["tennis court", "basketball court"])), 1, 1, LAND)
    _parking(world, LAND, 1, 3)
    _traffic(world, 1, 5)
    _trees(world, 5, 22)
    return world


def countryside(rng: np.random.Generator, size: int) -> World:
    """Fields with wind turbines, farm buildings, a road, a pond."""
    world = _world(rng, size, (120, 700), str(rng.choice(["fields", "fields", "fields", "soil", "dry grass"])), LAND)
    if rng.random() < 0.7:
        _cross_road(world, rng.uniform(6, 9))
    _some(world, "windmill", 0 if rng.random() < 0.3 else 1, 4, LAND)
    _variants(world, "building", ("gable", "flat", "hip"), 1, 4, LAND)
    if rng.random() < 0.2:
        _some(world, "storage tank", 1, 3, LAND)
    _traffic(world, 0, 4)
    for variant in ("truck", "car"):
        _some(world, "vehicle", 0, 1, LAND | ROAD, variant)
    _trees(world, 4, 16)
    return world


def industrial(rng: np.random.Generator, size: int) -> World:
    """Tank farm and works: tanks, halls, containers, lorries."""
    world = _world(rng, size, (70, 480), str(rng.choice(["concrete", "soil", "asphalt", "dry grass"])), LAND)
    if rng.random() < 0.7:
        _cross_road(world, rng.uniform(7, 12), 0.1)
    row = rng.random() < 0.5
    first = world.scatter(world.new_item("storage tank"), LAND, 4.0)
    if first and row:
        step, turn = first.length * rng.uniform(1.25, 1.5), rng.uniform(0, 2 * np.pi)
        for k in range(1, int(rng.integers(2, 5))):
            tank = world.new_item("storage tank", first.length, colour=None if rng.random() < 0.5 else first.colour)
            world.at(tank, first.x + k * step * np.cos(turn), first.y + k * step * np.sin(turn), 0, LAND)
    _some(world, "storage tank", 1, 4, LAND)
    _variants(world, "building", ("flat", "flat", "ell", "gable"), 1, 4, LAND)
    _containers(world, int(rng.integers(0, 4)), LAND)
    _parking(world, LAND, 1, 3)
    _traffic(world, 0, 4)
    _some(world, "vehicle", 0, 2, LAND, "truck")
    _trees(world, 0, 8)
    return world


def junction(rng: np.random.Generator, size: int) -> World:
    """Roundabout with its roads, traffic and what stands around it."""
    world = _world(rng, size, (80, 300), str(rng.choice(["grass", "dry grass", "concrete", "soil"])), LAND)
    circle = world.new_item("roundabout")
    if circle is not None:
        circle.x, circle.y = rng.uniform(0.3, 0.7, 2) * size
        circle.layer = 0
        start = rng.uniform(0, 2 * np.pi)
        arms = int(rng.integers(3, 5))
        for k in range(arms):
            a = start + 2 * np.pi * k / arms + rng.normal(0, 0.12)
            centre = np.array([circle.x, circle.y])
            world.road(np.stack([centre, centre + np.array([np.cos(a), np.sin(a)]) * size * 1.5]), rng.uniform(8, 11))
        world.add(circle, 1)
    else:
        _cross_road(world, 9)
    _variants(world, "building", ("gable", "hip", "flat", "ell"), 1, 4, LAND)
    _traffic(world, 3, 8)
    _parking(world, LAND, 1, 4)
    if rng.random() < 0.4:
        _some(world, str(rng.choice(["swimming pool", "basketball court", "tennis court"])), 1, 2, LAND)
    _trees(world, 4, 16)
    return world


def river(rng: np.random.Generator, size: int) -> World:
    """River under one or two bridges, with boats and banks."""
    world = _world(rng, size, (100, 500), str(rng.choice(["grass", "dry grass", "fields", "concrete"])), LAND)
    angle = rng.uniform(0, np.pi)
    d = np.array([np.cos(angle), np.sin(angle)])
    n = np.array([-d[1], d[0]])
    breadth = rng.uniform(0.2, 0.5) * size
    middle = np.array([size / 2] * 2) + n * rng.uniform(-0.12, 0.12) * size
    yy, xx = np.mgrid[0:size, 0:size].astype(np.float32)
    off = np.abs((xx - middle[0]) * n[0] + (yy - middle[1]) * n[1]) + noise(rng, size, 2, 3) * size * 0.012
    inside = breadth / 2 - off
    blend(world.ground, (176, 166, 132), np.clip(1 - np.abs(inside) / 3, 0, 1))
    blend(world.ground, texture(rng, size, str(rng.choice(_WATERS))), np.clip(inside / 1.5 + 0.5, 0, 1))
    world.place_kind[inside > 0] = WATER
    world.place_kind[np.abs(inside) <= 2] = ROAD
    for k in range(1 + int(rng.random() < 0.35)):
        slant = rng.normal(0, 0.15)
        way = np.array([np.cos(angle + np.pi / 2 + slant), np.sin(angle + np.pi / 2 + slant)])
        centre = middle + d * (rng.uniform(-0.3, 0.05) if k == 0 else rng.uniform(0.2, 0.38)) * size
        length = min(0.93 * size, breadth * rng.uniform(1.2, 1.5) + 8)
        deck = world.new_item("bridge", length, float(np.clip(world.pixels(rng.uniform(9, 16)) / length, 0.05, 0.2)))
        if deck is None:
            continue
        deck.x, deck.y, deck.angle, deck.layer = *centre, float(np.arctan2(way[1], way[0])), 0
        metres = deck.width * world.gsd * 0.8
        if world.fits(deck, LAND | WATER | ROAD | PAVED, 2, 0.7):
            road = world.road(np.stack([centre - way * 1.5 * size, centre + way * 1.5 * size]), metres)
            world.items.append(deck)
            world.roads.append(type(road)(np.stack([centre - way * length / 2, centre + way * length / 2]), deck.width))
    _traffic(world, 1, 5)
    for item in world.items:
        if item.category == "bridge":
            cv2.fillPoly(world.taken, [np.round(world.footprint(item, 2)).astype(np.int32)], 1)
    _ships(world, 1, 4)
    _variants(world, "building", ("gable", "flat", "hip"), 1, 4, LAND)
    if rng.random() < 0.25:
        _some(world, "storage tank", 1, 2, LAND)
    _trees(world, 3, 14)
    return world


def sports(rng: np.random.Generator, size: int) -> World:
    """Sports ground: courts, pitches, tracks, pools, a car park."""
    world = _world(rng, size, (70, 420), str(rng.choice(["grass", "concrete", "dry grass"])), LAND)
    if rng.random() < 0.5:
        _cross_road(world, 7, 0.08)
    if rng.random() < 0.65:
        _some(world, "ground track field", 1, 1, LAND)
    if rng.random() < 0.4:
        _some(world, "baseball field", 1, 2, LAND)
    grid = rng.uniform(0, np.pi)
    for category in ("tennis court", "basketball court"):
        for _ in range(int(rng.integers(0, 4))):
            item = world.new_item(category)
            world.scatter(item, LAND, 3.0, grid + float(rng.integers(2)) * np.pi / 2 if rng.random() < 0.7 else None)
    _some(world, "swimming pool", 0, 2, LAND)
    _variants(world, "building", ("flat", "hip", "ell"), 0, 2, LAND)
    _parking(world, LAND, 1, 4)
    _traffic(world, 0, 3)
    _trees(world, 2, 14)
    return world


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
