"""From attenuation to a film: hardware, exposure, noise, collimator, lettering."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cxr.phantoms.anatomy import BASE, Pose, Scene
from cxr.phantoms.plan import FILM, HARDWARE, KEPT, NOISE, Phantom


def add_hardware(phantom: Phantom, scene: Scene, attenuation: np.ndarray, seed: int) -> None:
    """Add cables, electrodes and tubes to some images, independent of the findings; in place."""
    rng = phantom.stream(HARDWARE, seed)
    if rng.random() > (0.6 if phantom.view == "AP" else 0.12):
        return
    side = 2 * BASE
    picture = Image.new("L", (side, side))
    pen = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(1, 4))):
        ends = rng.uniform(-0.35, 0.35), rng.uniform(0.2, 0.6), rng.uniform(-0.55, 0.55), rng.choice([-0.05, 1.05])
        t = np.linspace(0, 1, 40)
        bow = rng.normal(0, 0.12)
        x = ends[0] + (ends[2] - ends[0]) * t + bow * np.sin(np.pi * t)
        y = ends[1] + (ends[3] - ends[1]) * t + 0.5 * bow * np.sin(2 * np.pi * t)
        u, v = scene.pose.to_frame(x, y)
        points = list(zip((u * side).tolist(), (v * side).tolist(), strict=True))
        pen.line(points, fill=150, width=int(rng.integers(2, 5)))
        r = rng.uniform(7, 14)
        cx, cy = float(u[0]) * side, float(v[0]) * side
        pen.ellipse((cx - r, cy - r, cx + r, cy + r), fill=190)
        pen.ellipse((cx - r / 2.5, cy - r / 2.5, cx + r / 2.5, cy + r / 2.5), fill=60)
    attenuation += np.asarray(picture.reduce(2), dtype=np.float32) * np.float32(0.7 / 255)


def add_kept(phantom: Phantom, scene: Scene, attenuation: np.ndarray, seed: int) -> None:
    """Add what stays in a patient's chest from visit to visit, independent of the findings; in place."""
    rng = np.random.default_rng([KEPT, seed, phantom.patient])
    side = 2 * BASE
    picture = Image.new("L", (side, side))
    pen = ImageDraw.Draw(picture)

    def at(x: np.ndarray | float, y: np.ndarray | float) -> list[tuple[float, float]]:
        u, v = scene.pose.to_frame(np.atleast_1d(x), np.atleast_1d(y))
        return list(zip((u * side).tolist(), (v * side).tolist(), strict=True))

    for paint, share in _KEPT.items():
        if rng.random() < share:
            paint(pen, at, rng)
    attenuation += np.asarray(picture.reduce(2), dtype=np.float32) * np.float32(1.1 / 255)


At = Callable[[np.ndarray | float, np.ndarray | float], list[tuple[float, float]]]  # body coordinates to pixels


def _pacemaker(pen: ImageDraw.ImageDraw, at: At, rng: np.random.Generator) -> None:
    """A generator below one collar bone, and one or two leads to the heart."""
    side = -1 if rng.random() < 0.3 else 1
    x, y = side * rng.uniform(0.22, 0.28), rng.uniform(0.19, 0.25)
    half, tall = rng.uniform(0.028, 0.038), rng.uniform(0.03, 0.042)
    corners = np.array([(-1, -0.7), (-0.5, -1), (0.5, -1), (1, -0.7), (1, 0.7), (0.5, 1), (-0.5, 1), (-1, 0.7)])
    pen.polygon(at(x + half * corners[:, 0], y + tall * corners[:, 1]), fill=230)
    t = np.linspace(0, 1, 40)
    for _ in range(int(rng.integers(1, 3))):
        end_x, end_y = rng.uniform(-0.06, 0.1), rng.uniform(0.5, 0.66)
        path = x * (1 - t) ** 2 + end_x * t**2, y + (end_y - y) * t**2 - 0.1 * np.sin(np.pi * t)
        pen.line(at(*path), fill=200, width=4)


def _sternal_wires(pen: ImageDraw.ImageDraw, at: At, rng: np.random.Generator) -> None:
    """Rings of wire along the breastbone, left by heart surgery."""
    first, gap = rng.uniform(0.2, 0.26), rng.uniform(0.055, 0.075)
    t = np.linspace(0, 2 * np.pi, 24)
    for number in range(int(rng.integers(4, 8))):
        x, y = rng.normal(0, 0.006), first + number * gap
        pen.line(at(x + 0.022 * np.cos(t), y + rng.uniform(0.008, 0.016) * np.sin(t)), fill=230, width=4)


def _clips(pen: ImageDraw.ImageDraw, at: At, rng: np.random.Generator) -> None:
    """Surgical clips, close together."""
    x, y = (-1 if rng.random() < 0.5 else 1) * rng.uniform(0.05, 0.3), rng.uniform(0.2, 0.6)
    for _ in range(int(rng.integers(3, 9))):
        cx, cy, angle = rng.normal(x, 0.03), rng.normal(y, 0.03), rng.uniform(0, np.pi)
        ends = np.array([-0.009, 0.009])
        pen.line(at(cx + ends * np.cos(angle), cy + ends * np.sin(angle)), fill=235, width=5)


def _scars(pen: ImageDraw.ImageDraw, at: At, rng: np.random.Generator) -> None:
    """Small calcified spots and thin old scars in the lungs."""
    for _ in range(int(rng.integers(1, 5))):
        x, y = (-1 if rng.random() < 0.5 else 1) * rng.uniform(0.12, 0.3), rng.uniform(0.18, 0.6)
        if rng.random() < 0.6:
            radius = rng.uniform(0.004, 0.009)
            t = np.linspace(0, 2 * np.pi, 16)
            pen.polygon(at(x + radius * np.cos(t), y + radius * np.sin(t)), fill=int(rng.integers(130, 220)))
        else:
            angle, ends = rng.uniform(0, np.pi), np.array([-0.5, 0, 0.5]) * rng.uniform(0.04, 0.1)
            bow = np.array([0, rng.normal(0, 0.006), 0])
            pen.line(at(x + ends * np.cos(angle), y + ends * np.sin(angle) + bow), fill=90, width=5)


_KEPT: dict[Callable[[ImageDraw.ImageDraw, At, np.random.Generator], None], float] = {
    _pacemaker: 0.15,
    _sternal_wires: 0.15,
    _clips: 0.25,
    _scars: 0.5,
}  # and the share of patients with each


def exposed(phantom: Phantom, pose: Pose, attenuation: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Exposure, film curve, enlargement, quantum noise, collimator and lettering; (size, size) uint8."""
    rng = phantom.stream(FILM, seed)
    ap = phantom.view == "AP"
    density = rng.uniform(0.75, 1.1) if ap else rng.uniform(0.68, 1.0)
    scatter = rng.uniform(0.02, 0.12) if ap else rng.uniform(0, 0.05)
    light = 1 - np.exp(np.minimum(-density * attenuation, 0))
    light = scatter + (1 - scatter) * light
    gamma = rng.uniform(0.75, 1.15)
    low, high = rng.uniform(0, 14), rng.uniform(190, 255) if ap else rng.uniform(235, 262)
    grey = low + (high - low) * np.power(light, np.float32(gamma))
    picture = Image.fromarray(grey.astype(np.float32)).resize((size, size), Image.Resampling.BICUBIC)
    grey = np.array(picture, dtype=np.float32)
    noise = phantom.stream(NOISE, seed).standard_normal((size, size), dtype=np.float32)
    noise *= np.float32(rng.uniform(1.0, 2.6) * (1.3 if ap else 1))
    grey += noise
    np.clip(grey, 0, 255, out=grey)
    pixels = grey.astype(np.uint8)
    return _marks(rng, pixels, ap)


def _marks(rng: np.random.Generator, pixels: np.ndarray, ap: bool) -> np.ndarray:
    """Collimator edges on some images, and a lead-letter side marker on most."""
    size = len(pixels)
    picture = Image.fromarray(pixels)
    pen = ImageDraw.Draw(picture)
    collimated, marked, lettered = rng.random(4) < 0.22, rng.random() < 0.85, rng.random() < 0.4
    margins = rng.uniform(0.005, 0.05, 4) * size * collimated
    tilts = rng.normal(0, 0.008, 4) * size * collimated
    (a, b, c, d), (ta, tb, tc, td) = margins, tilts
    for on, polygon in zip(
        collimated,
        (
            [(-1, -1), (a + ta, -1), (a - ta, size), (-1, size)],
            [(-1, -1), (size, -1), (size, b + tb), (-1, b - tb)],
            [(size, -1), (size - c + tc, -1), (size - c - tc, size), (size, size)],
            [(-1, size), (size, size), (size, size - d + td), (-1, size - d - td)],
        ),
        strict=True,
    ):
        if on:
            pen.polygon(polygon, fill=int(rng.integers(0, 6)))
    if marked:
        x, y = rng.uniform(0.84, 0.95) * size, rng.uniform(0.03, 0.16) * size
        pen.text((x, y), "L", fill=int(rng.integers(200, 256)), font=ImageFont.load_default(max(6, 0.045 * size)))
    if ap and lettered:
        font = ImageFont.load_default(max(5, 0.02 * size))
        pen.text((rng.uniform(0.03, 0.8) * size, rng.uniform(0.06, 0.12) * size), "PORTABLE", fill=235, font=font)
    return np.asarray(picture)
