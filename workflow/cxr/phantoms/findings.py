"""The findings of a phantom, painted into its healthy anatomy.

Each painter changes the scene in place and returns one mask (512, 512) in 0..1 for every lesion a reader would box.
"""

import math
from collections.abc import Callable

import numpy as np

from cxr.boxes import FRAME
from cxr.phantoms.anatomy import BASE, Scene, side_of, smooth_noise, step
from cxr.phantoms.plan import HEALTHY, Phantom


def _place(scene: Scene, rng: np.random.Generator, side: int, low: float, high: float) -> tuple[float, float]:
    """A random point in the lung on one side, between the heights low and high (0: apex, 1: diaphragm)."""
    g = scene.geometry
    height = rng.uniform(low, high)
    floor = g.dome[side > 0]
    y = g.apex + height * (floor - g.apex)
    outer = g.half_width * (0.55 + 0.42 * math.sqrt(min(1.0, height)))
    reach = g.heart[side > 0] if y > g.heart_top + 0.12 else 0.1
    inner = min(reach + 0.01, outer - 0.09)
    return side * rng.uniform(inner + 0.025, outer - 0.05), y


def _radius(scene: Scene, x: float, y: float, a: float, b: float, tilt: float = 0.0) -> np.ndarray:
    """Distance from (x, y) in units of the semi-axes a and b of a tilted ellipse."""
    c, s = np.float32(math.cos(tilt)), np.float32(math.sin(tilt))
    dx, dy = scene.x - np.float32(x), scene.y - np.float32(y)
    return np.sqrt(np.square((c * dx + s * dy) * np.float32(1 / a)) + np.square((c * dy - s * dx) * np.float32(1 / b)))


def _fill(scene: Scene, alpha: np.ndarray) -> None:
    """Replace a share of the air, and of the markings visible in it, by fluid."""
    scene.air *= 1 - alpha


def _on_side(scene: Scene, side: int) -> np.ndarray:
    return step(scene.x * side, 0.005)


def vary(phantom: Phantom, scene: Scene, seed: int) -> None:
    """Vary healthy lungs, so that findings are not the only source of haze, markings or darkness."""
    rng = phantom.stream(HEALTHY, seed)
    scene.vessels *= np.float32(rng.uniform(0.6, 1.45))
    scene.texture *= np.float32(rng.uniform(0.6, 1.4))
    scene.air *= np.float32(rng.uniform(0.9, 1.06))
    haze = rng.uniform(0, 0.22 if phantom.view == "AP" else 0.12)
    across, down = scene.side_x - np.float32(0.12), scene.y - np.float32(scene.geometry.heart_top + 0.1)
    _fill(scene, haze * np.exp(-np.square(across * (1 / 0.14)) - np.square(down * (1 / 0.2))))
    for _ in range(int(rng.integers(0, 4))):
        side = side_of(rng)
        centre, axes = _place(scene, rng, side, 0.1, 1.0), (rng.uniform(0.07, 0.2), rng.uniform(0.07, 0.2))
        _fill(scene, rng.uniform(0.03, 0.2) * np.exp(-1.5 * np.square(_radius(scene, *centre, *axes))))


def _cardiomegaly(scene: Scene, rng: np.random.Generator) -> list[np.ndarray]:
    g = scene.geometry
    rng.random()
    across = (scene.x > -g.heart[0]) & (scene.x < g.heart[1])
    bottom = (g.dome[0] + g.dome[1]) / 2 + 0.045
    return [(across & (scene.y > g.heart_top + 0.02) & (scene.y < bottom)).astype(np.float32)]


def _effusion(scene: Scene, rng: np.random.Generator) -> list[np.ndarray]:
    g, sides = scene.geometry, [side_of(rng)]
    if rng.random() < 0.15:
        sides.append(-sides[0])
    masks = []
    for side in sides:
        q = scene.side_x * np.float32(1 / g.half_width)
        level = g.dome[side > 0] + rng.uniform(-0.2, 0.06)
        rise = rng.uniform(0.06, 0.17)
        edge = level - rise * np.power(np.clip(q, 0, 1.05), 6) + 0.01 * scene.coarse[0]
        fluid = step(scene.y - edge, rng.uniform(0.01, 0.03)) * _on_side(scene, side)
        masks.append(fluid * scene.behind * (q > 0.2))
        _fill(scene, rng.uniform(0.55, 0.95) * fluid)
        haze = _on_side(scene, side) * np.clip((scene.y - edge + 0.2) * (1 / 0.2), 0, 1)
        _fill(scene, rng.uniform(0.05, 0.2) * haze)
    return masks


def _atelectasis(scene: Scene, rng: np.random.Generator) -> list[np.ndarray]:
    side = side_of(rng)
    x, y = _place(scene, rng, side, 0.5, 0.97) if rng.random() < 0.8 else _place(scene, rng, side, 0.15, 0.5)
    if rng.random() < 0.6:  # plate-like
        tilt = side * rng.uniform(-0.45, 0.35)
        a, b = rng.uniform(0.08, 0.16), rng.uniform(0.014, 0.034)
        r = _radius(scene, x, y, a, b, tilt) + 0.14 * scene.coarse[1]
        alpha = step(1 - r, 0.5)
        if rng.random() < 0.5:
            second = _radius(scene, x + rng.normal(0, 0.02), y - rng.uniform(0.035, 0.06), a * 0.7, b * 0.8, tilt)
            alpha = np.maximum(alpha, 0.8 * step(1 - second, 0.5))
    else:  # wedge with its tip towards the hilum
        dx = (scene.x * side - (abs(x) - 0.09)) * np.float32(1 / rng.uniform(0.14, 0.2))
        off = np.abs(scene.y - np.float32(y) - 0.25 * dx * 0.1)
        alpha = step(rng.uniform(0.07, 0.11) * dx - off, 0.018) * step(dx, 0.1) * step(1 - dx, 0.15)
    alpha = alpha * _on_side(scene, side)
    _fill(scene, rng.uniform(0.32, 0.75) * alpha)
    around = _radius(scene, x, y, 0.16, 0.13)
    _fill(scene, 0.16 * step(1 - around, 0.7))
    return [alpha * scene.behind]


def _patch(
    scene: Scene,
    rng: np.random.Generator,
    side: int,
    centre: tuple[float, float],
    axes: tuple[float, float],
    lumps: np.ndarray,
) -> np.ndarray:
    """A soft, irregular ellipse kept to one side."""
    r = _radius(scene, *centre, *axes, rng.uniform(-0.5, 0.5)) + lumps
    return step(1 - r, 0.45) * _on_side(scene, side)


def _infiltration(scene: Scene, rng: np.random.Generator) -> list[np.ndarray]:
    sides = [side_of(rng)]
    if rng.random() < 0.2:
        sides.append(-sides[0])
    masks = []
    for side in sides:
        centre, axes = _place(scene, rng, side, 0.2, 0.95), (rng.uniform(0.06, 0.16), rng.uniform(0.08, 0.18))
        alpha = _patch(scene, rng, side, centre, axes, 0.22 * scene.coarse[1])
        lumpy = np.clip(0.78 + 0.15 * scene.coarse[0] + 0.13 * scene.coarse[1] + 0.09 * scene.coarse[2], 0, 1.2)
        _fill(scene, rng.uniform(0.24, 0.55) * alpha * lumpy)
        masks.append(alpha * scene.behind)
    return masks


def _pneumonia(scene: Scene, rng: np.random.Generator) -> list[np.ndarray]:
    side = side_of(rng)
    centre, axes = _place(scene, rng, side, 0.3, 0.98), (rng.uniform(0.08, 0.17), rng.uniform(0.08, 0.17))
    alpha = _patch(scene, rng, side, centre, axes, 0.18 * scene.coarse[0])
    _fill(scene, rng.uniform(0.32, 0.68) * alpha * (0.9 + 0.1 * scene.coarse[1]))
    return [alpha * scene.behind]


def _consolidation(scene: Scene, rng: np.random.Generator) -> list[np.ndarray]:
    side = side_of(rng)
    x, y = _place(scene, rng, side, 0.25, 0.85)
    axes = (rng.uniform(0.11, 0.18), rng.uniform(0.1, 0.16))
    alpha = _patch(scene, rng, side, (x, y), axes, 0.15 * scene.coarse[0])
    tilt, below = rng.uniform(-0.25, 0.25), rng.random() < 0.5
    fissure = (scene.y - np.float32(y)) - tilt * (scene.x - np.float32(x)) + (0.03 if below else -0.03)
    alpha = alpha * step(fissure if below else -fissure, 0.004)
    tubes = np.exp(-np.square(scene.coarse[1] * (1 / 0.12)))
    _fill(scene, alpha * (rng.uniform(0.42, 0.85) - 0.15 * tubes))
    scene.vessels *= 1 - 0.6 * alpha
    return [alpha * scene.behind]


def _ball(
    scene: Scene, rng: np.random.Generator, centre: tuple[float, float], r: float, strength: float, rough: float
) -> np.ndarray:
    """A round opacity that adds its own attenuation, so that it is also visible in front of other findings."""
    distance = _radius(scene, *centre, r * rng.uniform(0.85, 1.15), r, rng.uniform(0, 3)) + rough * scene.coarse[1]
    inside = np.sqrt(np.clip(1.12 - np.square(distance), 0, 1)) * step(1 - distance, 0.14)
    scene.extra += np.float32(strength) * inside * np.maximum(scene.behind, 0.25)
    return step(1 - distance, 0.14)


def _mass(scene: Scene, rng: np.random.Generator) -> list[np.ndarray]:
    side = side_of(rng)
    r = rng.uniform(0.045, 0.105)
    centre = _place(scene, rng, side, 0.15, 0.88)
    return [_ball(scene, rng, centre, r, rng.uniform(0.32, 0.85), 0.06)]


def _nodule(scene: Scene, rng: np.random.Generator) -> list[np.ndarray]:
    masks = []
    side = side_of(rng)
    for _ in range(1 + (rng.random() < 0.15)):
        centre = _place(scene, rng, side, 0.12, 0.92)
        masks.append(_ball(scene, rng, centre, rng.uniform(0.02, 0.034), rng.uniform(0.3, 0.75), 0.03))
        side = -side
    return masks


def _pneumothorax(scene: Scene, rng: np.random.Generator) -> list[np.ndarray]:
    side, g = side_of(rng), scene.geometry
    tall = g.dome[side > 0] - g.apex
    reach = g.apex + tall * rng.uniform(0.3, 0.9)
    width = rng.uniform(0.04, 0.09)
    apical = rng.uniform(0.4, 1.5)
    gap = width * np.clip((reach - scene.y) * (1 / (0.35 * tall)), 0, 1) + 0.006 * scene.coarse[0]
    inward = np.minimum(scene.to_wall, scene.to_top * np.float32(1 / apical)) - gap
    where = _on_side(scene, side) * scene.behind
    lateral = step(scene.side_x - rng.uniform(0.09, 0.2), 0.035)
    free = step(-inward, 0.004) * where * lateral * step(gap - 0.012, 0.008)
    line = np.exp(-np.square(inward * (1 / 0.0035))) * where * lateral * step(gap - 0.016, 0.008)
    scene.vessels *= 1 - free
    scene.texture *= 1 - 0.85 * free
    scene.air += free * scene.lung * (rng.uniform(0.03, 0.1) + rng.uniform(0.2, 0.34) * np.clip(0.95 - scene.air, 0, 1))
    _fill(scene, rng.uniform(0.04, 0.2) * where * (1 - free))
    scene.extra += np.float32(rng.uniform(0.12, 0.26)) * line
    return [free]


def _edema(scene: Scene, rng: np.random.Generator) -> list[np.ndarray]:
    g = scene.geometry
    strength = rng.uniform(0.14, 0.5)
    y = g.heart_top + 0.1
    for side in (-1, 1):
        r = _radius(scene, side * 0.13, y, rng.uniform(0.13, 0.18), rng.uniform(0.19, 0.25), side * 0.2)
        r += 0.1 * scene.coarse[1]
        _fill(scene, strength * np.exp(-np.square(r) * 0.9) * (0.9 + 0.08 * scene.coarse[2] + 0.1 * scene.coarse[1]))
    _fill(scene, np.full_like(scene.x, rng.uniform(0, 0.08)))
    scene.vessels *= np.float32(rng.uniform(1.0, 1.4))
    return []


def _emphysema(scene: Scene, rng: np.random.Generator) -> list[np.ndarray]:
    rng.random()
    scene.air *= np.float32(rng.uniform(1.0, 1.1))
    np.minimum(scene.air, 1.12, out=scene.air)
    scene.vessels *= np.float32(rng.uniform(0.35, 0.8))
    scene.texture *= np.float32(rng.uniform(0.5, 0.9))
    return []


def _fibrosis(scene: Scene, rng: np.random.Generator) -> list[np.ndarray]:
    rng.random()
    net = np.exp(-np.square(smooth_noise(rng, 48) * (1 / 0.2)))
    np.maximum(net, 0.8 * np.exp(-np.square(smooth_noise(rng, 80) * (1 / 0.25))), out=net)
    g = scene.geometry
    low = np.clip((scene.y - (g.heart_top - 0.02)) * (1 / 0.28), 0, 1)
    rim = 0.35 + 0.65 * step(0.13 - scene.to_wall, 0.09)
    where = low * rim * scene.lung
    scene.extra += np.float32(rng.uniform(0.1, 0.4)) * net * where
    _fill(scene, rng.uniform(0.0, 0.14) * where)
    return []


def _pleural_thickening(scene: Scene, rng: np.random.Generator) -> list[np.ndarray]:
    side, g = side_of(rng), scene.geometry
    sides = (side, -side) if rng.random() < 0.3 else (side,)
    for each in sides:
        thick = rng.uniform(0.016, 0.034)
        start = g.apex + rng.uniform(-0.05, 0.3)
        end = start + rng.uniform(0.22, 0.5)
        along = step(scene.y - start, 0.04) * step(end - scene.y, 0.04) * _on_side(scene, each)
        inner = thick * along * (1 + 0.2 * scene.coarse[0] + 0.1 * scene.coarse[1])
        rim = step(inner - np.minimum(scene.to_wall, 0.7 * scene.to_top), 0.005) * scene.behind * along
        _fill(scene, 0.85 * rim)
        scene.extra += 0.1 * rim
    return []


def _hernia(scene: Scene, rng: np.random.Generator) -> list[np.ndarray]:
    side, g = side_of(rng), scene.geometry
    r = rng.uniform(0.05, 0.085)
    x = 0.03 * side + rng.uniform(-0.005, 0.05)
    y = (g.dome[0] + g.dome[1]) / 2 - r * rng.uniform(0.35, 0.85)
    distance = _radius(scene, x, y, r * rng.uniform(1.05, 1.4), r)
    whole = step(1 - distance, 0.06)
    _fill(scene, rng.uniform(0.35, 0.75) * whole)
    level = y + r * rng.uniform(-0.05, 0.4)
    gas = step(0.86 - distance, 0.07) * step(level - scene.y, 0.004)
    scene.extra += 0.22 * whole - np.float32(rng.uniform(0.35, 1.3)) * gas
    return []


PAINTERS: dict[str, Callable[[Scene, np.random.Generator], list[np.ndarray]]] = {
    "Atelectasis": _atelectasis,
    "Cardiomegaly": _cardiomegaly,
    "Effusion": _effusion,
    "Infiltration": _infiltration,
    "Mass": _mass,
    "Nodule": _nodule,
    "Pneumonia": _pneumonia,
    "Pneumothorax": _pneumothorax,
    "Consolidation": _consolidation,
    "Edema": _edema,
    "Emphysema": _emphysema,
    "Fibrosis": _fibrosis,
    "Pleural_Thickening": _pleural_thickening,
    "Hernia": _hernia,
}


def box_around(mask: np.ndarray, rng: np.random.Generator) -> tuple[float, float, float, float]:
    """The box a reader would draw around the mask, with a random error; x, y, w, h in the 1024 frame."""
    seen = mask > 0.4 * mask.max()
    columns, rows = np.flatnonzero(seen.any(axis=0)), np.flatnonzero(seen.any(axis=1))
    unit = FRAME / BASE
    x0, x1, y0, y1 = columns[0] * unit, (columns[-1] + 1) * unit, rows[0] * unit, (rows[-1] + 1) * unit
    dx, dy = 3 + 0.03 * (x1 - x0), 3 + 0.03 * (y1 - y0)
    x0, x1 = np.clip([x0 - rng.uniform(-0.4, 1) * dx, x1 + rng.uniform(-0.4, 1) * dx], 0, FRAME)
    y0, y1 = np.clip([y0 - rng.uniform(-0.4, 1) * dy, y1 + rng.uniform(-0.4, 1) * dy], 0, FRAME)
    return float(x0), float(y0), float(x1 - x0), float(y1 - y0)
