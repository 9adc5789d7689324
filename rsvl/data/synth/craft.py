"""Drawings of things that move: aircraft, ships, vehicles."""

from itertools import pairwise

import numpy as np

from rsvl.data.synth.shapes import RGB, Shape, bar, disc, mirrored, rect, rotate, shade

_GLASS: RGB = (46, 56, 70)


def airplane(rng: np.random.Generator, length: float, width: float, rgb: RGB, variant: str) -> Shape:
    """Jet airliner or propeller plane from above: fuselage, wings, tailplane, engines."""
    h, r = length / 2, length * 0.058
    jet = bool(rng.random() < 0.75)
    sweep = rng.uniform(0.16, 0.24) if jet else rng.uniform(0.0, 0.03)
    root, tip = (0.20, 0.07) if jet else (0.14, 0.10)
    fuselage = mirrored(
        [(h, 0), (h * 0.95, r * 0.55), (h * 0.82, r), (-h * 0.45, r), (-h * 0.85, r * 0.5), (-h, r * 0.25)]
    )
    front = length * (0.14 if jet else 0.2)
    wings, tails = [], []
    for side in (1, -1):
        tipx = front - sweep * length
        wings.append(
            np.array(
                [
                    [front, 0],
                    [tipx, side * width / 2],
                    [tipx - tip * length, side * width / 2],
                    [front - root * length, side * r],
                    [front - root * length, 0],
                ]
            )
        )
        tx = -h * 0.72
        tails.append(
            np.array(
                [
                    [tx, 0],
                    [tx - 0.08 * length, side * width * 0.19],
                    [tx - 0.13 * length, side * width * 0.19],
                    [tx - 0.12 * length, 0],
                ]
            )
        )
    engines = []
    for side in (1, -1):
        for k in (0.33, 0.62)[: 1 + int(jet and rng.random() < 0.3)] if jet else ():
            x = front - sweep * length * k + 0.03 * length
            y = side * width / 2 * k
            engines.append(rect(x - 0.07 * length, y - 0.022 * length, x + 0.03 * length, y + 0.022 * length))
    parts = [(w, shade(rgb, 0.88)) for w in wings + tails]
    for wing in wings:  # the flap line along the trailing edge
        parts.append((bar(wing[2, 0], wing[2, 1], wing[3, 0], wing[3, 1], max(0.5, 0.012 * length)), shade(rgb, 0.7)))
    parts += [(e, shade(rgb, 0.66)) for e in engines]
    parts.append((fuselage, rgb))
    parts.append((bar(-h * 0.8, 0, h * 0.75, 0, r * 0.5), shade(rgb, 1.06)))
    accent: RGB = (176, 40, 40) if rng.random() < 0.5 else (40, 60, 140)
    parts.append((bar(-h * 0.98, 0, -h * 0.68, 0, max(0.8, r * 0.45)), accent))
    parts.append((mirrored([(h * 0.9, 0), (h * 0.88, r * 0.5), (h * 0.82, r * 0.6), (h * 0.82, 0)]), _GLASS))
    if not jet:
        parts.append((bar(h * 0.99, -length * 0.13, h * 0.99, length * 0.13, max(0.7, 0.015 * length)), (70, 70, 70)))
    return Shape([fuselage, *wings, *tails, *engines], parts, length * 0.09, raised=True)


def helicopter(rng: np.random.Generator, length: float, width: float, rgb: RGB, variant: str) -> Shape:
    """Helicopter from above: drop-shaped cabin, tail boom, main and tail rotor."""
    h = length / 2
    cabin = mirrored(
        [(h * 0.72, 0), (h * 0.66, h * 0.14), (h * 0.4, h * 0.26), (0, h * 0.27), (-h * 0.3, h * 0.14), (-h * 0.4, 0)]
    )
    boom = np.array([[-h * 0.2, -h * 0.1], [-h * 0.2, h * 0.1], [-h, h * 0.045], [-h, -h * 0.045]])
    fin = bar(-h * 0.88, -h * 0.2, -h * 0.88, h * 0.2, h * 0.09)
    tail_rotor = bar(-h * 1.0, h * 0.1, -h * 0.8, h * 0.1, h * 0.04)
    turn = rng.uniform(0, np.pi / 2)
    blade = bar(0, 0, width / 2, 0, max(1.1, length * 0.028))
    blades = [rotate(blade, turn + k * np.pi / 2) + np.array([h * 0.2, 0]) for k in range(4)]
    parts = [(boom, shade(rgb, 0.85)), (fin, shade(rgb, 0.75)), (cabin, rgb)]
    parts.append((mirrored([(h * 0.7, 0), (h * 0.62, h * 0.13), (h * 0.44, h * 0.18), (h * 0.48, 0)]), _GLASS))
    parts.append((rect(-h * 0.1, -h * 0.09, h * 0.28, h * 0.09), shade(rgb, 0.7)))
    parts += [(b, (84, 84, 86)) for b in blades] + [(tail_rotor, (84, 84, 86))]
    parts.append((disc(h * 0.2, 0, length * 0.03), (60, 60, 60)))
    return Shape([cabin, boom, fin, *blades], parts, length * 0.12, raised=True)


def ship(rng: np.random.Generator, length: float, width: float, rgb: RGB, variant: str) -> Shape:
    """Ship (cargo hatches, bridge house) or boat (cabin, open cockpit), by `variant`."""
    h, w = length / 2, width / 2
    stern = rng.uniform(0.6, 0.9)
    hull = mirrored(
        [(h, 0), (h * 0.86, w * 0.45), (h * 0.62, w * 0.88), (h * 0.35, w), (-h * 0.85, w), (-h, w * stern)]
    )
    deck = hull * [0.95, 0.78]
    house: RGB = (226, 226, 222) if sum(rgb) < 560 else (168, 172, 178)
    parts = [(hull, shade(rgb, 0.78)), (deck, rgb)]
    if variant == "cargo":
        n = int(rng.integers(3, 7))
        xs = np.linspace(-h * 0.5, h * 0.66, n + 1)
        for a, b in pairwise(xs):
            parts.append((rect(a + length * 0.012, -w * 0.5, b - length * 0.012, w * 0.5), shade(rgb, 0.84)))
            parts.append((bar(a + length * 0.012, 0, b - length * 0.012, 0, max(0.5, w * 0.06)), shade(rgb, 1.15)))
        parts.append((rect(-h * 0.88, -w * 0.68, -h * 0.62, w * 0.68), house))
        parts.append((rect(-h * 0.7, -w * 0.85, -h * 0.62, w * 0.85), shade(house, 0.85)))
        parts.append((disc(-h * 0.8, 0, w * 0.22), (60, 60, 64)))
    else:
        parts.append((rect(-h * 0.8, -w * 0.55, -h * 0.35, w * 0.55), shade(rgb, 0.72)))
        cabin = mirrored([(h * 0.38, 0), (h * 0.28, w * 0.5), (-h * 0.28, w * 0.58), (-h * 0.28, 0)])
        parts.append((cabin, house))
        parts.append((mirrored([(h * 0.38, 0), (h * 0.28, w * 0.5), (h * 0.14, w * 0.52), (h * 0.2, 0)]), _GLASS))
    return Shape([hull], parts, width * (0.22 if variant == "cargo" else 0.2))


def vehicle(rng: np.random.Generator, length: float, width: float, rgb: RGB, variant: str) -> Shape:
    """Car (windscreens and roof) or truck (cab and box), by `variant`."""
    h, w = length / 2, width / 2
    if variant == "truck":
        box = rect(-h, -w, h * 0.52, w)
        cab = rect(h * 0.58, -w * 0.92, h * 0.97, w * 0.92)
        parts = [(rect(h * 0.4, -w * 0.5, h * 0.7, w * 0.5), (50, 50, 52)), (box, rgb), (cab, shade(rgb, 0.86))]
        parts.append((rect(h * 0.84, -w * 0.8, h * 0.93, w * 0.8), _GLASS))
        for x in np.linspace(-h * 0.8, h * 0.35, 5):
            parts.append((bar(x, -w * 0.9, x, w * 0.9, max(0.4, length * 0.008)), shade(rgb, 0.88)))
        return Shape([rect(-h, -w, h * 0.97, w)], parts, width * 0.8)
    body = mirrored(
        [(h, w * 0.6), (h * 0.93, w * 0.88), (h * 0.7, w), (-h * 0.75, w), (-h * 0.95, w * 0.88), (-h, w * 0.65)]
    )
    parts = [(body, rgb)]
    glass = mirrored([(h * 0.38, w * 0.74), (h * 0.12, w * 0.68), (-h * 0.5, w * 0.66), (-h * 0.68, w * 0.7)])
    parts.append((glass, _GLASS))
    parts.append((rect(-h * 0.48, -w * 0.78, h * 0.12, w * 0.78), shade(rgb, 1.05)))
    return Shape([body], parts, width * 0.55)


def wake(rng: np.random.Generator, length: float, width: float) -> list[np.ndarray]:
    """Foam behind a moving ship: widening, ever fainter polygons, in the ship's frame."""
    reach = length * rng.uniform(0.8, 1.8)
    xs = np.linspace(-length * 0.35, -length * 0.45 - reach, 7)
    ws = np.linspace(width * 0.5, width * 1.1, 7)
    return [
        np.array([[xs[i], -ws[i]], [xs[i], ws[i]], [xs[i + 1], ws[i + 1]], [xs[i + 1], -ws[i + 1]]]) for i in range(6)
    ]
