"""Drawings of things that stand still: buildings, tanks, courts and fields, pools, roads' and shores' works."""

import numpy as np

from rsvl.data.synth.shapes import RGB, Polygon, Shape, arc, bar, disc, mirrored, rect, rotate, shade, stadium

_LINE: RGB = (236, 236, 230)
_ASPHALT: RGB = (92, 93, 96)


def _frame(hx: float, hy: float, width: float) -> list[Polygon]:
    """Outline of a rectangle as four strokes."""
    return [
        bar(-hx, -hy, hx, -hy, width),
        bar(-hx, hy, hx, hy, width),
        bar(-hx, -hy, -hx, hy, width),
        bar(hx, -hy, hx, hy, width),
    ]


def storage_tank(rng: np.random.Generator, length: float, width: float, rgb: RGB, variant: str) -> Shape:
    """Cylindrical tank: rim, roof with its light and dark side, stair, vents."""
    r = length / 2
    rim, roof = disc(0, 0, r, n=40), disc(0, 0, r * 0.93, n=40)
    parts = [(rim, shade(rgb, 0.66)), (roof, rgb)]
    if rng.random() < 0.5:  # floating roof: an inner disc
        parts += [(disc(0, 0, r * 0.78, n=36), shade(rgb, 0.86)), (disc(0, 0, r * 0.72, n=36), shade(rgb, 0.97))]
    else:  # fixed roof: radial seams
        for t in np.arange(6) * np.pi / 3:
            parts.append((bar(0, 0, r * 0.92 * np.cos(t), r * 0.92 * np.sin(t), max(0.4, r * 0.02)), shade(rgb, 0.9)))
        parts.append((disc(0, 0, r * 0.12), shade(rgb, 0.75)))
    parts.append((bar(r * 0.2, r * 0.5, r * 0.95, r * 0.2, max(0.6, r * 0.05)), shade(rgb, 0.55)))
    return Shape([rim], parts, length * rng.uniform(0.22, 0.4))


def tennis_court(rng: np.random.Generator, length: float, width: float, rgb: RGB, variant: str) -> Shape:
    """Tennis court with its run-off, lines and net."""
    hx, hy, line = length * 0.325, width * 0.30, max(0.55, length * 0.008)
    ground = rect(-length / 2, -width / 2, length / 2, width / 2)
    parts = [(ground, shade(rgb, 0.78)), (rect(-hx, -hy, hx, hy), rgb)]
    lines = _frame(hx, hy, line)
    lines += [bar(-hx, s * hy * 0.75, hx, s * hy * 0.75, line) for s in (-1, 1)]
    lines += [bar(s * hx * 0.54, -hy * 0.75, s * hx * 0.54, hy * 0.75, line) for s in (-1, 1)]
    lines.append(bar(-hx * 0.54, 0, hx * 0.54, 0, line))
    parts += [(p, _LINE) for p in lines]
    parts.append((bar(0, -hy * 1.15, 0, hy * 1.15, max(0.6, length * 0.012)), (60, 64, 66)))
    return Shape([ground], parts)


def basketball_court(rng: np.random.Generator, length: float, width: float, rgb: RGB, variant: str) -> Shape:
    """Basketball court: keys in a second tone, centre circle, three-point arcs."""
    hx, hy, line = length * 0.46, width * 0.44, max(0.55, length * 0.01)
    ground = rect(-length / 2, -width / 2, length / 2, width / 2)
    parts = [(ground, shade(rgb, 0.84)), (rect(-hx, -hy, hx, hy), rgb)]
    key = shade(rgb, 0.62)
    lines = [*_frame(hx, hy, line), bar(0, -hy, 0, hy, line), arc(0, 0, length * 0.07, 0, 2 * np.pi, line)]
    for side in (-1, 1):
        x0, x1 = sorted((side * hx, side * hx * 0.6))
        parts.append((rect(x0, -hy * 0.32, x1, hy * 0.32), key))
        lines += [bar(side * hx * 0.6, -hy * 0.32, side * hx * 0.6, hy * 0.32, line)]
        mid = np.pi if side > 0 else 0.0
        lines += [arc(side * hx * 0.92, 0, hy * 0.86, mid - np.pi / 2, mid + np.pi / 2, line)]
        lines += [arc(side * hx * 0.6, 0, hy * 0.32, mid - np.pi / 2, mid + np.pi / 2, line)]
    parts += [(p, _LINE) for p in lines]
    return Shape([ground], parts)


def ground_track_field(rng: np.random.Generator, length: float, width: float, rgb: RGB, variant: str) -> Shape:
    """Running track around a football pitch."""
    track: RGB = (176, 78, 58)
    grass: RGB = (84 + int(rng.integers(-10, 10)), 140 + int(rng.integers(-14, 10)), 66)
    outer = stadium(length, width)
    parts = [(outer, track)]
    lanes = 4
    for k in range(1, lanes):
        inset = k * width * 0.036
        parts.append((stadium(length - 2 * inset, width - 2 * inset), shade(track, 1.28)))
        thin = inset + max(0.35, width * 0.006)
        parts.append((stadium(length - 2 * thin, width - 2 * thin), track))
    inset = width * 0.15
    parts.append((stadium(length - 2 * inset, width - 2 * inset), grass))
    hx, hy, line = (length - width) * 0.52, width * 0.29, max(0.5, width * 0.008)
    for k in range(8):  # mowing stripes
        a, b = -hx + k * hx / 4, -hx + (k + 1) * hx / 4
        parts.append((rect(a, -hy, b, hy), shade(grass, 1.1 if k % 2 else 0.96)))
    lines = [*_frame(hx, hy, line), bar(0, -hy, 0, hy, line), arc(0, 0, hy * 0.28, 0, 2 * np.pi, line)]
    for s in (-1, 1):
        lines += [bar(s * hx * 0.78, -hy * 0.5, s * hx * 0.78, hy * 0.5, line)]
        lines += [bar(s * hx, t * hy * 0.5, s * hx * 0.78, t * hy * 0.5, line) for t in (-1, 1)]
    parts += [(p, _LINE) for p in lines]
    return Shape([outer], parts)


def baseball_field(rng: np.random.Generator, length: float, width: float, rgb: RGB, variant: str) -> Shape:
    """Quarter-circle outfield, sand infield with its grass diamond, foul lines."""
    grass: RGB = (96, 146, 70)
    sand: RGB = (186, 148, 104)
    r, home = length * 0.98, np.array([-length * 0.48, 0.0])
    t = np.linspace(-np.pi / 4, np.pi / 4, 20)

    def sector(radius: float) -> Polygon:
        return np.concatenate([home[None], home + radius * np.stack([np.cos(t), np.sin(t)], 1)])

    parts = [(sector(r), sand), (sector(r * 0.95), grass), (sector(r * 0.46), sand)]
    side = r * 0.27
    diamond = rotate(rect(0, 0, side, side), -np.pi / 4) + home + [r * 0.035, 0]
    parts.append((diamond, shade(grass, 1.06)))
    parts.append((disc(home[0] + r * 0.225, 0, r * 0.035), sand))
    parts += [(disc(home[0] + r * 0.03, 0, r * 0.06), sand)]
    for a in (-np.pi / 4, np.pi / 4):
        end = home + r * 0.95 * np.array([np.cos(a), np.sin(a)])
        parts.append((bar(home[0], home[1], end[0], end[1], max(0.5, r * 0.008)), _LINE))
    return Shape([sector(r)], parts)


def swimming_pool(rng: np.random.Generator, length: float, width: float, rgb: RGB, variant: str) -> Shape:
    """Pool with a pale rim: rectangular with lane lines, or kidney-shaped."""
    water: RGB = (70 + int(rng.integers(-12, 12)), 186 + int(rng.integers(-10, 10)), 214)
    rim: RGB = (222, 218, 206)
    if rng.random() < 0.65:
        basin, inner = (rect(-length / 2, -width / 2, length / 2, width / 2) * s for s in (1.0, 0.88))
    else:
        t = np.linspace(0, 2 * np.pi, 32, endpoint=False)
        wobble = 1 - 0.22 * np.exp(-(((t - np.pi / 2) / 0.7) ** 2))
        basin = np.stack([length / 2 * np.cos(t), width / 2 * np.sin(t)], 1) * wobble[:, None]
        inner = basin * 0.88
    parts = [(basin, rim), (inner, water)]
    if width > 14:
        parts.append((inner * [0.95, 0.8], shade(water, 0.94)))
        for y in np.linspace(-width * 0.3, width * 0.3, 5):
            parts.append((bar(-length * 0.38, y, length * 0.38, y, max(0.4, width * 0.012)), shade(water, 0.82)))
    parts.append(
        (bar(-length * 0.3, -width * 0.2, length * 0.1, -width * 0.26, max(0.5, width * 0.05)), (150, 224, 236))
    )
    return Shape([basin], parts)


def roundabout(rng: np.random.Generator, length: float, width: float, rgb: RGB, variant: str) -> Shape:
    """Ring road around a planted island, with a dashed lane line."""
    r = length / 2
    outer = disc(0, 0, r, n=48)
    island = rng.uniform(0.42, 0.55)
    grass: RGB = (82, 128, 62)
    parts = [(outer, _ASPHALT), (disc(0, 0, r * (island + 0.05), n=40), (190, 188, 180))]
    parts.append((disc(0, 0, r * island, n=40), grass))
    mid, n = r * (1 + island) / 2, 20
    for k in range(n):
        a = 2 * np.pi * k / n
        parts.append((arc(0, 0, mid, a, a + np.pi / n, max(0.5, r * 0.02)), _LINE))
    if rng.random() < 0.5:
        parts.append((disc(0, 0, r * island * 0.45), (180, 170, 150)))
        parts.append((disc(0, 0, r * island * 0.25), (120, 160, 180)))
    else:
        for k in range(6):
            a = k * np.pi / 3
            x, y = r * island * 0.6 * np.cos(a), r * island * 0.6 * np.sin(a)
            parts.append((disc(x, y, r * island * 0.18), (46, 88, 44)))
    return Shape([outer], parts)


def bridge(rng: np.random.Generator, length: float, width: float, rgb: RGB, variant: str) -> Shape:
    """Road bridge: deck, parapets, lane line, expansion joints."""
    h, w = length / 2, width / 2
    deck = rect(-h, -w, h, w)
    parapet: RGB = (198, 196, 190)
    parts = [(deck, parapet), (rect(-h, -w * 0.76, h, w * 0.76), (112, 112, 114))]
    step = max(4.0, width * 0.5)
    for x in np.arange(-h, h - step / 2, step):
        parts.append((bar(x, 0, x + step * 0.5, 0, max(0.5, width * 0.035)), _LINE))
    for x in np.linspace(-h, h, 6)[1:-1]:
        parts.append((bar(x, -w, x, w, max(0.5, width * 0.04)), (80, 80, 82)))
        parts += [(rect(x - w * 0.2, s * w - w * 0.15, x + w * 0.2, s * w + w * 0.15), parapet) for s in (-1, 1)]
    return Shape([deck], parts, width * 0.45)


def pier(rng: np.random.Generator, length: float, width: float, rgb: RGB, variant: str) -> Shape:
    """Pier: planks or slabs, edge beam, bollards."""
    h, w = length / 2, width / 2
    deck = rect(-h, -w, h, w)
    parts = [(deck, shade(rgb, 0.75)), (rect(-h, -w * 0.82, h * 0.99, w * 0.82), rgb)]
    for x in np.arange(-h, h, max(3.0, width * 0.35)):
        parts.append((bar(x, -w * 0.82, x, w * 0.82, max(0.4, width * 0.03)), shade(rgb, 0.86)))
    for x in np.linspace(-h * 0.85, h * 0.93, max(3, int(length / max(6.0, width)))):
        parts += [(disc(x, s * w * 0.88, max(0.7, w * 0.1), n=8), (52, 50, 48)) for s in (-1, 1)]
    return Shape([deck], parts, width * 0.16)


def windmill(rng: np.random.Generator, length: float, width: float, rgb: RGB, variant: str) -> Shape:
    """Wind turbine in a slightly oblique view: round base, leaning tower, nacelle, three blades."""
    reach = length * 0.46
    hub = np.array([length * 0.04, 0.0])
    foot = np.array([-length * 0.36, length * 0.06])
    blade = mirrored([(reach, 0), (reach * 0.6, reach * 0.045), (reach * 0.22, reach * 0.085), (0, reach * 0.035)])
    turn = rng.uniform(0, 2 * np.pi / 3)
    blades = [rotate(blade, turn + k * 2 * np.pi / 3) + hub for k in range(3)]
    across = np.array([0.0, length * 0.024])
    tower = np.stack([foot + across, hub + across * 0.6, hub - across * 0.6, foot - across])
    base = disc(foot[0], foot[1], length * 0.05)
    nacelle = rect(-length * 0.05, -length * 0.03, length * 0.05, length * 0.03) + hub
    parts = [(base, (178, 174, 166)), (tower, (206, 208, 208))]
    parts += [(b, (238, 238, 236)) for b in blades]
    parts += [(nacelle, (226, 226, 224)), (disc(hub[0], hub[1], length * 0.028), (246, 246, 244))]
    return Shape([base, tower, nacelle, *blades], parts, length * 0.25, raised=True)


def building(rng: np.random.Generator, length: float, width: float, rgb: RGB, variant: str) -> Shape:
    """House with a gable or hip roof, or a flat-roofed block, plain or L-shaped."""
    h, w = length / 2, width / 2
    height = width * rng.uniform(0.2, 0.5)
    style = variant or "gable"
    whole = rect(-h, -w, h, w)
    if style == "gable":
        ridge = max(0.5, width * 0.03)
        parts = [(rect(-h, -w, h, 0), shade(rgb, 1.06)), (rect(-h, 0, h, w), shade(rgb, 0.84))]
        for x in np.arange(-h, h, max(2.5, length / 14)):
            parts.append((bar(x, -w, x, w, 0.4), shade(rgb, 0.8)))
        parts.append((bar(-h, 0, h, 0, ridge), shade(rgb, 1.15)))
        parts.append((rect(h * 0.3, -w * 0.45, h * 0.3 + width * 0.1, -w * 0.45 + width * 0.1), (96, 84, 78)))
        return Shape([whole], parts, height)
    if style == "hip":
        a = min(h * 0.9, w)
        ridge0, ridge1 = (-h + a, 0.0), (h - a, 0.0)
        parts = [
            (np.array([[-h, -w], [h, -w], ridge1, ridge0]), shade(rgb, 1.08)),
            (np.array([[-h, w], [h, w], ridge1, ridge0]), shade(rgb, 0.82)),
            (np.array([[-h, -w], [-h, w], ridge0]), shade(rgb, 0.95)),
            (np.array([[h, -w], [h, w], ridge1]), shade(rgb, 0.9)),
        ]
        return Shape([whole], parts, height)
    blocks = [whole]
    if style == "ell":
        blocks = [rect(-h, -w, h, -w * 0.05), rect(-h, -w, -h * 0.25, w)]
    edge = max(0.6, width * 0.035)
    parts = [(b, shade(rgb, 0.72)) for b in blocks]
    for b in blocks:
        lo, hi = b.min(0), b.max(0)
        parts.append((rect(lo[0] + edge, lo[1] + edge, hi[0] - edge, hi[1] - edge), rgb))
    if style == "ell":  # no parapet between the two wings
        parts.append((rect(-h + edge, -w + edge, -h * 0.25 - edge, w - edge), rgb))
    for _ in range(int(rng.integers(2, 6))):  # plant on the roof
        x, y, s = rng.uniform(-h * 0.8, -h * 0.3), rng.uniform(-w * 0.8, w * 0.6), width * rng.uniform(0.05, 0.11)
        if style != "ell" and rng.random() < 0.6:
            x = -x
        parts.append((rect(x - s, y - s, x + s, y + s), shade(rgb, 0.6)))
        parts.append((rect(x - s * 0.8, y - s * 0.8, x + s * 0.6, y + s * 0.6), shade(rgb, 1.12)))
    return Shape(blocks, parts, height)
