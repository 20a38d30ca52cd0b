"""Generated pictures of shapes, textures and edges: a second domain for pre-training without outside images.

They share no object with chest X-rays; orientation, scale, place, contrast, background and noise vary within every
class, so a small network has to learn edge, blob, texture and shape features to tell the classes apart.
"""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

_SCALE = 2  # outlines are drawn this many times larger and reduced, so that their edges are smooth


def draw(images: int, side: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw a balanced set.

    Returns pictures (images, side, side) uint8 and classes (images,) int64, indices into ``CLASSES``: class counts
    differ by at most one, and their order is random. Raises ValueError for images < 1 or side < 16.
    """
    if images < 1 or side < 16:
        raise ValueError(f"textures: images = {images} must be at least 1 and side = {side} at least 16")
    classes = np.random.default_rng([1, seed]).permutation(np.arange(images, dtype=np.int64) % N_CLASSES)
    pictures = np.empty((images, side, side), dtype=np.uint8)
    names = list(_PAINTERS)
    for k, label in enumerate(classes):
        rng = np.random.default_rng([2, seed, k])
        pictures[k] = _finish(rng, _PAINTERS[names[label]](rng, side))
    return pictures, classes


def _finish(rng: np.random.Generator, pattern: np.ndarray) -> np.ndarray:
    """Put a pattern in [0, 1] on an uneven background with random contrast and noise; uint8."""
    side = len(pattern)
    contrast = rng.uniform(0.3, 0.9) * (1 if rng.random() < 0.5 else -1)
    a, b = rng.normal(0, 0.2, 2)
    axis = np.linspace(-0.5, 0.5, side, dtype=np.float32)
    grey = rng.uniform(0.3, 0.7) + contrast * (pattern - 0.5) + a * axis[None, :] + b * axis[:, None]
    grey += rng.uniform(0.01, 0.09) * rng.standard_normal((side, side), dtype=np.float32)
    return (np.clip(grey, 0, 1) * 255).astype(np.uint8)


# ------------------------------------------------------------------------------------------------------------ patterns
# Each takes a generator and a side and returns (side, side) float32 in about [0, 1].


def _turned(rng: np.random.Generator, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates around a random centre at a random angle, in units of the side; each (side, side) float32."""
    angle = rng.uniform(0, math.pi)
    cx, cy = rng.uniform(0.3, 0.7, 2)
    axis = (np.arange(side, dtype=np.float32) + 0.5) / side
    u, v = (axis - cx)[None, :], (axis - cy)[:, None]
    c, s = math.cos(angle), math.sin(angle)
    return (c * u + s * v).astype(np.float32), (c * v - s * u).astype(np.float32)


def _window(rng: np.random.Generator, side: int) -> np.ndarray | float:
    """The whole picture, or a soft round window in it."""
    if rng.random() < 0.6:
        return 1.0
    u, v = _turned(rng, side)
    radius = rng.uniform(0.25, 0.5)
    return 1 / (1 + np.exp((np.hypot(u, v) - radius) * 25))


def _masked(rng: np.random.Generator, pattern: np.ndarray) -> np.ndarray:
    return 0.5 + (pattern - 0.5) * _window(rng, len(pattern))


def _grating(rng: np.random.Generator, side: int, low: float, high: float, hard: bool) -> np.ndarray:
    u, _ = _turned(rng, side)
    wave = np.sin(2 * math.pi * rng.uniform(low, high) * u + rng.uniform(0, 7))
    return _masked(rng, 0.5 + 0.5 * (np.tanh(6 * wave) if hard else wave))


def _coarse_grating(rng: np.random.Generator, side: int) -> np.ndarray:
    return _grating(rng, side, 2, 5, hard=False)


def _fine_grating(rng: np.random.Generator, side: int) -> np.ndarray:
    return _grating(rng, side, 8, 16, hard=False)


def _stripes(rng: np.random.Generator, side: int) -> np.ndarray:
    return _grating(rng, side, 2.5, 6, hard=True)


def _checkers(rng: np.random.Generator, side: int) -> np.ndarray:
    u, v = _turned(rng, side)
    f = 2 * math.pi * rng.uniform(2, 6)
    wave = np.sin(f * u + rng.uniform(0, 7)) * np.sin(f * rng.uniform(0.7, 1.4) * v)
    return _masked(rng, 0.5 + 0.5 * np.tanh(8 * wave))


def _rings(rng: np.random.Generator, side: int) -> np.ndarray:
    u, v = _turned(rng, side)
    radius = np.hypot(u, v * rng.uniform(1, 1.5))
    return _masked(rng, 0.5 + 0.5 * np.sin(2 * math.pi * rng.uniform(4, 11) * radius + rng.uniform(0, 7)))


def _star(rng: np.random.Generator, side: int) -> np.ndarray:
    u, v = _turned(rng, side)
    return _masked(rng, 0.5 + 0.5 * np.tanh(3 * np.sin(int(rng.integers(3, 10)) * np.arctan2(v, u))))


def _blobs(rng: np.random.Generator, side: int, count: tuple[int, int], size: tuple[float, float]) -> np.ndarray:
    axis = (np.arange(side, dtype=np.float32) + 0.5) / side
    number = int(rng.integers(*count))
    centres, widths = rng.uniform(0.08, 0.92, (number, 2)), rng.uniform(*size, number)
    heights = rng.uniform(0.5, 1, number)
    across = np.exp(-np.square((axis[None, :] - centres[:, :1]) / widths[:, None]))
    down = np.exp(-np.square((axis[None, :] - centres[:, 1:]) / widths[:, None]))
    return np.minimum((down * heights[:, None]).T @ across, 1.2).astype(np.float32)


def _large_blobs(rng: np.random.Generator, side: int) -> np.ndarray:
    return _blobs(rng, side, (1, 4), (0.12, 0.25))


def _small_blobs(rng: np.random.Generator, side: int) -> np.ndarray:
    return _blobs(rng, side, (5, 15), (0.035, 0.08))


def _outline(
    rng: np.random.Generator, side: int, paint: Callable[[ImageDraw.ImageDraw, np.random.Generator, int], None]
) -> np.ndarray:
    """Draw with a pen at twice the side, then reduce."""
    picture = Image.new("L", (side * _SCALE, side * _SCALE))
    paint(ImageDraw.Draw(picture), rng, side * _SCALE)
    return np.asarray(picture.reduce(_SCALE), dtype=np.float32) / 255


def _corners(rng: np.random.Generator, side: int, count: int, low: float, high: float) -> list[tuple[float, float]]:
    """Corners of a slightly irregular polygon somewhere in the picture."""
    radius = rng.uniform(low, high) * side
    cx, cy = rng.uniform(0.15 * side + 0.5 * radius, 0.85 * side - 0.5 * radius, 2)
    angles = rng.uniform(0, 7) + 2 * math.pi * (np.arange(count) + rng.uniform(-0.15, 0.15, count)) / count
    reach = radius * rng.uniform(0.8, 1.2, count)
    return list(zip((cx + reach * np.cos(angles)).tolist(), (cy + reach * np.sin(angles)).tolist(), strict=True))


def _polygons(count: int, hollow: bool) -> Callable[[np.random.Generator, int], np.ndarray]:
    def paint(pen: ImageDraw.ImageDraw, rng: np.random.Generator, side: int) -> None:
        for _ in range(int(rng.integers(1, 4))):
            corners = _corners(rng, side, count, 0.12, 0.3)
            if hollow:
                pen.line([*corners, corners[0]], fill=255, width=int(rng.integers(2, 7)), joint="curve")
            else:
                pen.polygon(corners, fill=int(rng.integers(140, 256)))

    return lambda rng, side: _outline(rng, side, paint)


def _ellipses(rng: np.random.Generator, side: int) -> np.ndarray:
    pattern = np.zeros((side, side), dtype=np.float32)
    for _ in range(int(rng.integers(1, 4))):
        u, v = _turned(rng, side)
        a, b = rng.uniform(0.08, 0.3), rng.uniform(0.06, 0.15)
        edge = np.clip((1 - np.hypot(u / a, v / b)) * 0.5 * (a + b) * side / rng.uniform(1, 3) + 0.5, 0, 1)
        np.maximum(pattern, edge * np.float32(rng.uniform(0.55, 1)), out=pattern)
    return pattern


def _hoops(pen: ImageDraw.ImageDraw, rng: np.random.Generator, side: int) -> None:
    for _ in range(int(rng.integers(2, 6))):
        (x, y), r = rng.uniform(0.1, 0.9, 2) * side, rng.uniform(0.06, 0.25) * side
        pen.ellipse((x - r, y - r, x + r, y + r), outline=int(rng.integers(160, 256)), width=int(rng.integers(2, 7)))


def _filaments(pen: ImageDraw.ImageDraw, rng: np.random.Generator, side: int) -> None:
    for _ in range(int(rng.integers(3, 9))):
        turns = rng.uniform(0, 7) + np.cumsum(rng.normal(0, 0.35, 24))
        x = rng.uniform(0, side) + np.cumsum(np.cos(turns)) * side * 0.04
        y = rng.uniform(0, side) + np.cumsum(np.sin(turns)) * side * 0.04
        points = list(zip(x.tolist(), y.tolist(), strict=True))
        pen.line(points, fill=int(rng.integers(140, 256)), width=int(rng.integers(1, 5)), joint="curve")


def _crossing_lines(pen: ImageDraw.ImageDraw, rng: np.random.Generator, side: int) -> None:
    for _ in range(int(rng.integers(3, 9))):
        (x, y), angle = rng.uniform(0.2, 0.8, 2) * side, rng.uniform(0, math.pi)
        dx, dy = 1.5 * side * math.cos(angle), 1.5 * side * math.sin(angle)
        pen.line((x - dx, y - dy, x + dx, y + dy), fill=int(rng.integers(140, 256)), width=int(rng.integers(1, 6)))


def _dots(pen: ImageDraw.ImageDraw, rng: np.random.Generator, side: int) -> None:
    """Dots on a rotated grid."""
    angle, gap, r = rng.uniform(0, math.pi), rng.uniform(0.09, 0.18) * side, rng.uniform(0.02, 0.04) * side
    steps = np.arange(-8, 9) * gap
    u, v = (a.ravel() for a in np.meshgrid(steps, steps))
    x = side / 2 + math.cos(angle) * u - math.sin(angle) * v
    y = side / 2 + math.sin(angle) * u + math.cos(angle) * v
    seen = (x > -r) & (x < side + r) & (y > -r) & (y < side + r)
    for a, b in zip(x[seen].tolist(), y[seen].tolist(), strict=True):
        pen.ellipse((a - r, b - r, a + r, b + r), fill=255)


def _penned(paint: Callable) -> Callable[[np.random.Generator, int], np.ndarray]:
    return lambda rng, side: _outline(rng, side, paint)


def _spectrum(rng: np.random.Generator, side: int, slope: float) -> np.ndarray:
    """Noise whose amplitude falls with frequency to the power of ``slope``."""
    fy, fx = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :]
    radius = np.maximum(np.hypot(fx, fy), 1 / side)
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((side, side))) * radius**-slope, s=(side, side))
    return (0.5 + 0.22 * (noise - noise.mean()) / noise.std()).astype(np.float32)


def _rough_noise(rng: np.random.Generator, side: int) -> np.ndarray:
    return _masked(rng, _spectrum(rng, side, rng.uniform(0.5, 0.9)))


def _cloudy_noise(rng: np.random.Generator, side: int) -> np.ndarray:
    return _masked(rng, _spectrum(rng, side, rng.uniform(1.5, 2.1)))


def _cells(rng: np.random.Generator, side: int) -> np.ndarray:
    """Patches that meet in edges: every point belongs to the nearest of some centres."""
    centres = rng.uniform(-0.05, 1.05, (int(rng.integers(6, 20)), 2)).astype(np.float32)
    axis = (np.arange(side, dtype=np.float32) + 0.5) / side
    across, down = axis[None, None, :] - centres[:, :1, None], axis[None, :, None] - centres[:, 1:, None]
    level = rng.uniform(0, 1, len(centres)).astype(np.float32)
    return level[np.argmin(np.square(across) + np.square(down), axis=0)]


def _edge(rng: np.random.Generator, side: int) -> np.ndarray:
    """One bent border between two areas, sharp or soft."""
    u, v = _turned(rng, side)
    bend = rng.normal(0, 0.9) * u * u + 0.06 * np.sin(rng.uniform(2, 9) * u + rng.uniform(0, 7))
    return np.clip((v - bend) / rng.uniform(0.01, 0.25) + 0.5, 0, 1)


_PAINTERS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "coarse grating": _coarse_grating,
    "fine grating": _fine_grating,
    "stripes": _stripes,
    "checkers": _checkers,
    "rings": _rings,
    "star": _star,
    "large blobs": _large_blobs,
    "small blobs": _small_blobs,
    "triangles": _polygons(3, hollow=False),
    "quadrangles": _polygons(4, hollow=False),
    "hollow triangles": _polygons(3, hollow=True),
    "ellipses": _ellipses,
    "hoops": _penned(_hoops),
    "filaments": _penned(_filaments),
    "crossing lines": _penned(_crossing_lines),
    "dots": _penned(_dots),
    "rough noise": _rough_noise,
    "cloudy noise": _cloudy_noise,
    "cells": _cells,
    "edge": _edge,
}
CLASSES = tuple(_PAINTERS)
N_CLASSES = len(CLASSES)
