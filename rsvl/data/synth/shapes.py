"""Flat geometry that the drawings are made of: polygons in an object's own frame.

The frame's origin is the object's centre, x runs along its length, y along its width, in pixels of the final image.
"""

from dataclasses import dataclass, field

import numpy as np

Polygon = np.ndarray  # float64 [n, 2]
RGB = tuple[int, int, int]


@dataclass
class Shape:
    """A drawing: filled polygons in painting order, and the polygons whose union is the object.

    Attributes:
        outline: polygons whose union is the object's silhouette.
        parts: (polygon, colour) in painting order.
        height: height above ground in pixels; its shadow is this long at 45° sun.
        raised: whether it hangs above the ground, so that its shadow lies apart from it instead of joining it.
    """

    outline: list[Polygon]
    parts: list[tuple[Polygon, RGB]] = field(default_factory=list)
    height: float = 0.0
    raised: bool = False


def shade(rgb: RGB, factor: float) -> RGB:
    """Scale a colour's brightness, clipped to 0–255."""
    r, g, b = (int(min(255, max(0, c * factor))) for c in rgb)
    return r, g, b


def rect(x0: float, y0: float, x1: float, y1: float) -> Polygon:
    """Axis-aligned rectangle between two corners."""
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], float)


def disc(x: float, y: float, radius: float, ry: float | None = None, n: int = 28) -> Polygon:
    """Disc or, with `ry`, ellipse."""
    t = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return np.stack([x + radius * np.cos(t), y + (radius if ry is None else ry) * np.sin(t)], 1)


def bar(x0: float, y0: float, x1: float, y1: float, width: float) -> Polygon:
    """Straight stroke of a given width."""
    d = np.array([x1 - x0, y1 - y0])
    n = np.array([-d[1], d[0]]) / max(1e-9, float(np.hypot(*d))) * width / 2
    a, b = np.array([x0, y0]), np.array([x1, y1])
    return np.stack([a + n, b + n, b - n, a - n])


def mirrored(points: list[tuple[float, float]]) -> Polygon:
    """Close a half outline, given with y ≥ 0 from bow to stern, by its mirror image in the x axis."""
    half = np.array(points, float)
    return np.concatenate([half, half[::-1] * [1, -1]])


def ring(radius: float, inner: float, ry: float, inner_y: float) -> list[Polygon]:
    """Elliptic ring as four-cornered segments."""
    a, b = disc(0, 0, radius, ry, 36), disc(0, 0, inner, inner_y, 36)
    return [np.stack([a[i - 1], a[i], b[i], b[i - 1]]) for i in range(36)]


def arc(x: float, y: float, radius: float, start: float, stop: float, width: float) -> Polygon:
    """Circular stroke from angle `start` to `stop` (radians)."""
    t = np.linspace(start, stop, 16)
    unit = np.stack([np.cos(t), np.sin(t)], 1)
    return np.concatenate([unit * (radius + width / 2), unit[::-1] * (radius - width / 2)]) + np.array([x, y])


def stadium(length: float, width: float) -> Polygon:
    """Rectangle with half-circle ends, `length` × `width` overall."""
    r, s = width / 2, (length - width) / 2
    t = np.linspace(-np.pi / 2, np.pi / 2, 14)
    right = np.stack([s + r * np.cos(t), r * np.sin(t)], 1)
    return np.concatenate([right, -right])


def rotate(polygon: Polygon, angle: float) -> Polygon:
    """Rotate about the origin by `angle` radians, clockwise on the screen (y points down)."""
    c, s = np.cos(angle), np.sin(angle)
    return polygon @ np.array([[c, s], [-s, c]])
