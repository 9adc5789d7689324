"""Settings on land: each lays out ground and roads, and peoples them with what belongs there."""

import numpy as np

from rsvl.data.synth.frame import Frame
from rsvl.data.synth.ground import blend, curve, strip, texture
from rsvl.data.synth.props import buildings, containers, cross_road, parking, some, traffic, trees
from rsvl.data.synth.world import LAND, PAVED, ROAD, Item, World, open_world


def airport(rng: np.random.Generator, size: int) -> World:
    """Apron, taxiway and runway with aircraft, helicopters, service vehicles and a terminal."""
    world = open_world(rng, size, (70, 480), str(rng.choice(["grass", "dry grass"])), LAND)
    angle = float(rng.uniform(0, np.pi))
    frame = Frame.rotated(size, angle)
    _apron(world, frame)
    if rng.random() < 0.8:
        _runway(world, frame, -rng.uniform(0.32, 0.42) * size)
    for _ in range(int(rng.integers(1, 3))):
        taxiway = strip(size, frame.line(rng.uniform(-0.1, 0.4) * size), 1)
        blend(world.ground, (216, 180, 60), taxiway * 0.8)
    if rng.random() < 0.6:
        terminal = world.new_item("building", variant="flat")
        if terminal:
            across = 0.48 * size - terminal.width / 2
            spot = frame.point(rng.uniform(-0.25, 0.25) * size, across)
            world.at(terminal, spot[0], spot[1], angle, PAVED)
    heading = angle + np.pi / 2 * float(rng.integers(4))
    for _ in range(int(rng.integers(2, 7))):
        item = world.new_item("airplane")
        world.scatter(item, PAVED, 2.0, heading + rng.normal(0, 0.1) if rng.random() < 0.5 else None)
    some(world, "helicopter", 0, 2, PAVED | LAND)
    for variant in ("car", "truck"):
        some(world, "vehicle", 0, 3, PAVED, variant)
    buildings(world, ("flat", "flat", "gable"), 0, 1, PAVED)
    return world


def _apron(world: World, frame: Frame) -> None:
    """Pave the side of the frame's positive second axis with jointed slabs."""
    rng, size = world.rng, world.size
    along, across = frame.coordinates()
    apron = (across > -0.22 * size).astype(np.float32)
    blend(world.ground, texture(rng, size, str(rng.choice(["concrete", "concrete", "asphalt"]))), apron)
    world.place_kind[apron > 0.5] = PAVED
    joint = max(8.0, world.pixels(12))
    seams = ((np.mod(across, joint) < 0.9) | (np.mod(along, joint) < 0.9)).astype(np.float32) * apron
    blend(world.ground, (128, 128, 126), seams * 0.4)


def _runway(world: World, frame: Frame, across: float) -> None:
    """Lay a runway with its dashed centre line."""
    size = world.size
    blend(world.ground, (84, 85, 88), strip(size, frame.line(across), np.clip(world.pixels(30), 12, 0.3 * size)))
    step = np.clip(world.pixels(12), 6, 40)
    for start in np.arange(-size, size, 2 * step):
        dash = np.stack([frame.point(start, across), frame.point(start + step, across)])
        blend(world.ground, (226, 226, 220), strip(size, dash, max(1.0, world.pixels(0.9))))


def residential(rng: np.random.Generator, size: int) -> World:
    """Streets of houses with pools, courts, cars and trees."""
    world = open_world(rng, size, (45, 240), str(rng.choice(["grass", "grass", "dry grass"])), LAND)
    angle = float(rng.uniform(0, np.pi))
    frame = Frame.rotated(size, angle)
    for k in range(int(rng.integers(1, 3))):
        middle = (
            frame.point(0, rng.uniform(-0.35, 0.35) * size) if k == 0 else frame.point(rng.uniform(-0.3, 0.3) * size, 0)
        )
        reach = (frame.along if k == 0 else frame.across) * size
        world.road(curve(rng, middle - reach, middle + reach, 0.06), rng.uniform(6, 9))
    styles = ("gable", "hip", "gable", "flat", "ell")
    for _ in range(int(rng.integers(2, 6))):
        house = world.new_item("building", world.pixels(rng.uniform(9, 26)), variant=str(rng.choice(styles)))
        world.scatter(house, LAND, 4.0, angle + float(rng.integers(4)) * np.pi / 2)
    some(world, "swimming pool", 0, 3, LAND)
    if rng.random() < 0.4:
        some(world, str(rng.choice(["tennis court", "basketball court"])), 1, 1, LAND)
    parking(world, LAND, 1, 3)
    traffic(world, 1, 5)
    trees(world, 5, 22)
    return world


def countryside(rng: np.random.Generator, size: int) -> World:
    """Fields with wind turbines, farm buildings, a road."""
    ground = str(rng.choice(["fields", "fields", "fields", "soil", "dry grass"]))
    world = open_world(rng, size, (120, 700), ground, LAND)
    if rng.random() < 0.7:
        cross_road(world, rng.uniform(6, 9))
    some(world, "windmill", 0 if rng.random() < 0.3 else 1, 4, LAND)
    buildings(world, ("gable", "flat", "hip"), 1, 4, LAND)
    if rng.random() < 0.2:
        some(world, "storage tank", 1, 3, LAND)
    traffic(world, 0, 4)
    for variant in ("truck", "car"):
        some(world, "vehicle", 0, 1, LAND | ROAD, variant)
    trees(world, 4, 16)
    return world


def industrial(rng: np.random.Generator, size: int) -> World:
    """Tank farm and works: tanks, halls, containers, lorries."""
    world = open_world(rng, size, (70, 480), str(rng.choice(["concrete", "soil", "asphalt", "dry grass"])), LAND)
    if rng.random() < 0.7:
        cross_road(world, rng.uniform(7, 12), 0.1)
    row = rng.random() < 0.5
    first = world.scatter(world.new_item("storage tank"), LAND, 4.0)
    if first and row:
        _tank_row(world, first)
    some(world, "storage tank", 1, 4, LAND)
    buildings(world, ("flat", "flat", "ell", "gable"), 1, 4, LAND)
    containers(world, int(rng.integers(0, 4)), LAND)
    parking(world, LAND, 1, 3)
    traffic(world, 0, 4)
    some(world, "vehicle", 0, 2, LAND, "truck")
    trees(world, 0, 8)
    return world


def _tank_row(world: World, first: Item) -> None:
    """Set tanks of the same size in a row from a first one."""
    rng = world.rng
    step, turn = first.length * rng.uniform(1.25, 1.5), rng.uniform(0, 2 * np.pi)
    for k in range(1, int(rng.integers(2, 5))):
        tank = world.new_item("storage tank", first.length, colour=None if rng.random() < 0.5 else first.colour)
        world.at(tank, first.x + k * step * np.cos(turn), first.y + k * step * np.sin(turn), 0, LAND)


def junction(rng: np.random.Generator, size: int) -> World:
    """Roundabout with its roads, traffic and what stands around it."""
    world = open_world(rng, size, (80, 300), str(rng.choice(["grass", "dry grass", "concrete", "soil"])), LAND)
    circle = world.new_item("roundabout")
    if circle is not None:
        _join(world, circle)
    else:
        cross_road(world, 9)
    buildings(world, ("gable", "hip", "flat", "ell"), 1, 4, LAND)
    traffic(world, 3, 8)
    parking(world, LAND, 1, 4)
    if rng.random() < 0.4:
        some(world, str(rng.choice(["swimming pool", "basketball court", "tennis court"])), 1, 2, LAND)
    trees(world, 4, 16)
    return world


def _join(world: World, circle: Item) -> None:
    """Place a roundabout and lead three or four roads out of it."""
    rng, size = world.rng, world.size
    circle.x, circle.y = rng.uniform(0.3, 0.7, 2) * size
    circle.layer = 0
    centre, start = np.array([circle.x, circle.y]), rng.uniform(0, 2 * np.pi)
    arms = int(rng.integers(3, 5))
    for k in range(arms):
        a = start + 2 * np.pi * k / arms + rng.normal(0, 0.12)
        world.road(np.stack([centre, centre + np.array([np.cos(a), np.sin(a)]) * size * 1.5]), rng.uniform(8, 11))
    world.add(circle, 1)


def sports(rng: np.random.Generator, size: int) -> World:
    """Sports ground: courts, pitches, tracks, pools, a car park."""
    world = open_world(rng, size, (70, 420), str(rng.choice(["grass", "concrete", "dry grass"])), LAND)
    if rng.random() < 0.5:
        cross_road(world, 7, 0.08)
    if rng.random() < 0.65:
        some(world, "ground track field", 1, 1, LAND)
    if rng.random() < 0.4:
        some(world, "baseball field", 1, 2, LAND)
    grid = rng.uniform(0, np.pi)
    for category in ("tennis court", "basketball court"):
        for _ in range(int(rng.integers(0, 4))):
            item = world.new_item(category)
            angle = grid + float(rng.integers(2)) * np.pi / 2 if rng.random() < 0.7 else None
            world.scatter(item, LAND, angle=angle)
    some(world, "swimming pool", 0, 2, LAND)
    buildings(world, ("flat", "hip", "ell"), 0, 2, LAND)
    parking(world, LAND, 1, 4)
    traffic(world, 0, 3)
    trees(world, 2, 14)
    return world
