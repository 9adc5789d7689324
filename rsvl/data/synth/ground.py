"""Textures of the ground, and the bands (roads, rivers, coasts) that divide it."""

import cv2
import numpy as np

from rsvl.data.synth.shapes import RGB

#: Base colour and contrast of each kind of ground.
GROUNDS: dict[str, tuple[RGB, float]] = {
    "grass": ((92, 120, 66), 16.0),
    "dry grass": ((146, 140, 92), 15.0),
    "soil": ((150, 122, 92), 14.0),
    "sand": ((206, 190, 152), 9.0),
    "concrete": ((168, 168, 164), 7.0),
    "asphalt": ((96, 97, 100), 6.0),
    "forest": ((46, 78, 44), 22.0),
    "deep water": ((26, 66, 92), 7.0),
    "green water": ((52, 96, 98), 6.0),
    "muddy water": ((98, 104, 84), 6.0),
}


def noise(rng: np.random.Generator, size: int, coarsest: int = 3, octaves: int = 5, gain: float = 0.6) -> np.ndarray:
    """Fractal noise: float32 [size, size] of zero mean and about unit deviation."""
    total: np.ndarray = np.zeros((size, size), np.float32)
    amplitude, n = 1.0, coarsest
    for _ in range(octaves):
        grid = rng.standard_normal((min(n, size), min(n, size)), dtype=np.float32)
        total += amplitude * cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)
        amplitude *= gain
        n *= 3
    return (total - total.mean()) / (total.std() + 1e-6)


def texture(rng: np.random.Generator, size: int, kind: str) -> np.ndarray:
    """Paint one kind of ground: float32 [size, size, 3], RGB in 0–255."""
    rgb, contrast = GROUNDS[kind]
    base = np.array(rgb, np.float32) + rng.uniform(-12, 12) + rng.uniform(-5, 5, 3).astype(np.float32)
    pattern = noise(rng, size, coarsest=int(rng.integers(2, 6)))
    if "water" in kind:
        pattern = pattern * 0.6 + _waves(rng, size)
    tint = np.array([1.0, 1.0, 0.8], np.float32) * contrast
    return base + pattern[..., None] * tint


def _waves(rng: np.random.Generator, size: int) -> np.ndarray:
    """Ripples across a random direction: noise stretched along the crests."""
    fine = rng.standard_normal((size, max(4, size // 6)), dtype=np.float32)
    crests = cv2.resize(fine, (size * 3 // 2, size * 3 // 2), interpolation=cv2.INTER_LINEAR)
    turn: np.ndarray = cv2.getRotationMatrix2D((size * 0.75, size * 0.75), float(rng.uniform(0, 180)), 1.0)
    turn[:, 2] -= size * 0.25
    return 0.6 * cv2.warpAffine(crests, turn, (size, size))


def fields(rng: np.random.Generator, size: int) -> np.ndarray:
    """Patchwork of crop fields with furrows and hedges: float32 [size, size, 3]."""
    canvas = texture(rng, size, "grass")
    angle = rng.uniform(0, np.pi)
    yy, xx = np.mgrid[0:size, 0:size].astype(np.float32)
    u, v = xx * np.cos(angle) + yy * np.sin(angle), yy * np.cos(angle) - xx * np.sin(angle)
    cell_u, cell_v = rng.uniform(0.28, 0.7, 2) * size
    iu, iv = (
        np.floor(u / cell_u).astype(int),
        np.floor((v + (np.floor(u / cell_u) % 2) * cell_v / 2) / cell_v).astype(int),
    )
    index = (iu * 7 + iv * 13) % 11
    palette = np.array(
        [(108, 138, 62), (162, 150, 84), (132, 104, 74), (196, 178, 112), (84, 116, 54), (120, 128, 70),
         (172, 134, 92), (96, 132, 78), (140, 146, 84), (184, 164, 104), (74, 104, 50)],
        np.float32,
    )  # fmt: skip
    palette += rng.uniform(-8, 8, palette.shape).astype(np.float32)
    period = rng.uniform(4, 9, 11).astype(np.float32)[index]
    along = np.where(index % 2 == 0, u, v)
    furrows = 5.0 * np.sin(2 * np.pi * along / period)
    canvas = palette[index] + furrows[..., None] + (canvas - canvas.mean((0, 1))) * 0.6
    edge = (np.abs(u / cell_u - np.round(u / cell_u)) * cell_u < 1.2) | (iv != np.roll(iv, 1, 0))
    canvas[edge] = canvas[edge] * 0.4 + np.array([52, 78, 40], np.float32) * 0.6
    return canvas


def strip(size: int, points: np.ndarray, width: float) -> np.ndarray:
    """Rasterise a band along a polyline [n, 2]: float32 [size, size] coverage in 0–1."""
    mask = np.zeros((size, size), np.uint8)
    xy = np.round(points * 16).astype(np.int32)
    cv2.polylines(mask, [xy], False, 255, max(1, round(width)), cv2.LINE_AA, 4)
    return mask.astype(np.float32) / 255


def curve(rng: np.random.Generator, start: np.ndarray, stop: np.ndarray, bend: float, n: int = 24) -> np.ndarray:
    """Quadratic curve from start to stop [n, 2], bowed sideways by up to `bend` of its length."""
    across = np.array([start[1] - stop[1], stop[0] - start[0]])
    middle = (start + stop) / 2 + across * rng.uniform(-bend, bend)
    t = np.linspace(0, 1, n)[:, None]
    return (1 - t) ** 2 * start + 2 * t * (1 - t) * middle + t**2 * stop


def blend(canvas: np.ndarray, top: np.ndarray | RGB, alpha: np.ndarray) -> None:
    """Lay `top` over the canvas where alpha [H, W] (0–1) says; in place."""
    a = alpha[..., None]
    canvas += (np.asarray(top, np.float32) - canvas) * a
