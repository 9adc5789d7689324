"""Settings with water: each lays out shores and works on them, and peoples both sides."""

import cv2
import numpy as np

from rsvl.data.synth.frame import Frame
from rsvl.data.synth.ground import blend, noise, texture
from rsvl.data.synth.props import buildings, containers, new_ship, ships, some, traffic, trees
from rsvl.data.synth.world import LAND, PAVED, ROAD, WATER, Item, Road, World, open_world

_WATERS = ("deep water", "deep water", "green water", "muddy water")


def harbour(rng: np.random.Generator, size: int) -> World:
    """Coast with piers, ships at berth and afloat, storage and buildings ashore."""
    world = open_world(rng, size, (90, 600), str(rng.choice(_WATERS)), WATER)
    angle = float(rng.uniform(0, 2 * np.pi))
    frame = Frame.rotated(size, angle)  # its first axis points inland
    shore = rng.uniform(0.02, 0.22) * size
    _coast(world, frame, shore)
    for _ in range(int(rng.integers(1, 4))):
        pier = world.new_item("pier")
        if pier is not None:
            _moor(world, pier, frame.point(shore + 4, rng.uniform(-0.45, 0.45) * size), angle + rng.normal(0, 0.12))
    ships(world, 2, 5)
    if rng.random() < 0.6:
        inland = shore + rng.uniform(0.12, 0.22) * size
        world.road(np.stack([frame.point(inland, -size), frame.point(inland, size)]), 9)
    some(world, "storage tank", 0, 2, LAND | PAVED)
    buildings(world, ("flat", "gable", "flat"), 1, 3, LAND | PAVED)
    containers(world, int(rng.integers(0, 3)), LAND | PAVED)
    traffic(world, 0, 3)
    trees(world, 0, 6)
    return world


def _coast(world: World, frame: Frame, shore: float) -> None:
    """Raise land beyond `shore` along the frame's first axis: a straight quay or a ragged beach."""
    rng, size = world.rng, world.size
    depth: np.ndarray = frame.coordinates()[0] - np.float32(shore)
    quay = rng.random() < 0.5
    if not quay:
        depth = depth + noise(rng, size, 2, 4) * size * 0.03
    paving = ["concrete", "asphalt", "dry grass"] if quay else ["concrete", "grass", "dry grass", "sand"]
    ashore = str(rng.choice(paving))
    blend(world.ground, texture(rng, size, ashore), np.clip(depth / 1.5 + 0.5, 0, 1))
    edge = np.clip(1 - np.abs(depth - 1) / 2.2, 0, 1)
    blend(world.ground, (190, 186, 172) if quay else (214, 204, 172), edge * 0.9)
    world.place_kind[depth > 0] = PAVED if ashore in ("concrete", "asphalt") else LAND


def _moor(world: World, pier: Item, foot: np.ndarray, inland: float) -> None:
    """Build a pier out from its foot, away from the direction `inland` (radians), and berth ships at its sides."""
    rng = world.rng
    out = -np.array([np.cos(inland), np.sin(inland)])
    pier.x, pier.y = foot + out * pier.length / 2
    pier.angle, pier.layer = float(np.arctan2(out[1], out[0])), 0
    if not world.fits(pier, WATER | LAND | PAVED, 4, 0.6):
        return
    world.add(pier, 1)
    across = np.array([-out[1], out[0]])
    for side in (1, -1):
        if rng.random() < 0.6:
            ship = new_ship(world, float(np.clip(pier.length * rng.uniform(0.3, 0.9), 8, world.size * 0.6)))
            if ship is None:
                continue
            gap = (pier.width + ship.width) / 2 + 3.5
            spot = np.array([pier.x, pier.y]) + across * side * gap + out * pier.length * 0.1
            world.at(ship, spot[0], spot[1], pier.angle + (np.pi if rng.random() < 0.5 else 0), WATER)


def open_water(rng: np.random.Generator, size: int) -> World:
    """Nothing but ships, and sometimes an islet."""
    world = open_world(rng, size, (60, 700), str(rng.choice(_WATERS)), WATER)
    if rng.random() < 0.35:
        _islet(world)
    ships(world, 4, 8)
    return world


def _islet(world: World) -> None:
    """Raise a wooded islet with a beach, sometimes inhabited."""
    rng, size = world.rng, world.size
    yy, xx = np.mgrid[0:size, 0:size].astype(np.float32)
    cx, cy = rng.uniform(0, size, 2)
    height = rng.uniform(0.1, 0.25) * size - np.hypot(xx - cx, yy - cy) + noise(rng, size, 3, 4) * size * 0.03
    blend(world.ground, (212, 202, 168), np.clip(height / 2 + 1.5, 0, 1))
    blend(world.ground, texture(rng, size, "forest"), np.clip(height / 4 - 0.5, 0, 1))
    world.place_kind[height > -3] = LAND
    if rng.random() < 0.5:
        buildings(world, ("gable", "flat"), 1, 2, LAND)


def river(rng: np.random.Generator, size: int) -> World:
    """River under one or two bridges, with boats and banks."""
    world = open_world(rng, size, (100, 500), str(rng.choice(["grass", "dry grass", "fields", "concrete"])), LAND)
    angle = float(rng.uniform(0, np.pi))
    frame = Frame.rotated(size, angle)  # its first axis runs with the river
    breadth = float(rng.uniform(0.2, 0.5) * size)
    middle = float(rng.uniform(-0.12, 0.12) * size)
    _riverbed(world, frame, middle, breadth)
    for k in range(1 + int(rng.random() < 0.35)):
        slant = rng.normal(0, 0.15)
        along = (rng.uniform(-0.3, 0.05) if k == 0 else rng.uniform(0.2, 0.38)) * size
        _span(world, frame.point(along, middle), angle + np.pi / 2 + slant, breadth)
    traffic(world, 1, 5)
    for item in world.items:
        if item.category == "bridge":  # from here on nothing passes under or stands on a bridge
            cv2.fillPoly(world.taken, [np.round(world.footprint(item, 2)).astype(np.int32)], 1)
    ships(world, 1, 4)
    buildings(world, ("gable", "flat", "hip"), 1, 4, LAND)
    if rng.random() < 0.25:
        some(world, "storage tank", 1, 2, LAND)
    trees(world, 3, 14)
    return world


def _riverbed(world: World, frame: Frame, middle: float, breadth: float) -> None:
    """Flood a band along the frame's first axis."""
    rng, size = world.rng, world.size
    off = np.abs(frame.coordinates()[1] - np.float32(middle)) + noise(rng, size, 2, 3) * size * 0.012
    inside = breadth / 2 - off
    blend(world.ground, (176, 166, 132), np.clip(1 - np.abs(inside) / 3, 0, 1))
    blend(world.ground, texture(rng, size, str(rng.choice(_WATERS))), np.clip(inside / 1.5 + 0.5, 0, 1))
    world.place_kind[inside > 0] = WATER
    world.place_kind[np.abs(inside) <= 2] = ROAD  # the bank itself: nothing stands there


def _span(world: World, centre: np.ndarray, angle: float, breadth: float) -> None:
    """Lead a road over the river on a bridge, where there is room for one."""
    rng, size = world.rng, world.size
    way = np.array([np.cos(angle), np.sin(angle)])
    length = min(0.93 * size, breadth * rng.uniform(1.2, 1.5) + 8)
    deck = world.new_item("bridge", length, float(np.clip(world.pixels(rng.uniform(9, 16)) / length, 0.05, 0.2)))
    if deck is None:
        return
    deck.x, deck.y = float(centre[0]), float(centre[1])
    deck.angle, deck.layer = float(np.arctan2(way[1], way[0])), 0
    if world.fits(deck, LAND | WATER | ROAD | PAVED, 2, 0.7):
        world.road(np.stack([centre - way * 1.5 * size, centre + way * 1.5 * size]), deck.width * world.gsd * 0.8)
        world.items.append(deck)
        world.roads.append(Road(np.stack([centre - way * length / 2, centre + way * length / 2]), deck.width))
