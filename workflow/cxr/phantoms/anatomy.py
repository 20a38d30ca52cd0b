"""Healthy anatomy of a phantom, and the changes of shape that findings cause.

Drawing is done in attenuation: tissue adds, air takes away. Body coordinates are fractions of the frame's side: X runs from
the patient's right (negative, left in the image) to the left, Y from top to bottom.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from scipy.interpolate import PchipInterpolator

from cxr.labels import FINDINGS
from cxr.phantoms.plan import ANATOMY, BREATH, BUILD, FINDING, POSE, STOMACH, TEXTURE, VESSELS, Phantom

BASE = 512  # side of the grid for anatomy; only noise and lettering are drawn at full size
_TABLE = 4096  # entries of a border table
# the inner chest wall: (share of the distance from apex to base, share of the greatest half width)
_WALL = ((0, 0.5), (0.06, 0.62), (0.14, 0.73), (0.26, 0.84), (0.45, 0.93), (0.7, 0.99), (0.9, 1.0), (1.1, 0.985))


@dataclass(frozen=True)
class Geometry:
    """Where things are in body coordinates (fractions of the frame's side)."""

    half_width: float  # of the rib cage, inside
    apex: float  # Y of the lung tops
    dome: tuple[float, float]  # Y of the diaphragm's top, right and left
    angle: float  # how far the costophrenic angles lie below the domes
    heart: tuple[float, float]  # extent of the heart to the right and left of the midline
    heart_top: float
    knob: float  # bulge of the aortic arch
    fat: float  # chest wall outside the ribs
    slope: float  # drop of the shoulders
    rib_gap: float
    rib_start: float
    rib_drop: float
    breast: float
    bone: float
    twist: float


@dataclass(frozen=True)
class Pose:
    """How the body lies in the frame."""

    angle: float
    scale: float
    shift: tuple[float, float]

    def to_frame(self, x: np.ndarray | float, y: np.ndarray | float) -> tuple:
        """Body coordinates to fractions of the frame."""
        c, s = math.cos(self.angle), math.sin(self.angle)
        u, v = np.multiply(x, self.scale), np.multiply(np.subtract(y, 0.5), self.scale)
        return c * u - s * v + 0.5 + self.shift[0], s * u + c * v + 0.5 + self.shift[1]


@dataclass
class Scene:
    """The fields a drawing is made of, each (512, 512) float32; findings change them in place."""

    geometry: Geometry
    pose: Pose
    x: np.ndarray
    y: np.ndarray
    side_x: np.ndarray  # |X|
    to_wall: np.ndarray  # distance to the inner chest wall, positive inside
    to_top: np.ndarray  # distance below the apex border
    to_floor: np.ndarray  # distance above the diaphragm
    lung: np.ndarray  # 0..1, without what the heart and mediastinum cover
    behind: np.ndarray  # 0..1, the same including it
    air: np.ndarray
    vessels: np.ndarray  # attenuation of vessel markings
    texture: np.ndarray  # standard deviation about 1, fine
    extra: np.ndarray  # attenuation added at the end
    coarse: list[np.ndarray] = field(default_factory=list)


def side_of(rng: np.random.Generator) -> int:
    """-1: the patient's right lung (left in the image), 1: the left one. Always the first draw of a painter."""
    return -1 if rng.random() < 0.5 else 1


def geometry_of(phantom: Phantom, seed: int) -> Geometry:
    """The patient's own anatomy, changed by the image's breathing, view and findings."""
    own = np.random.default_rng([ANATOMY, seed, phantom.patient])
    now = phantom.stream(BREATH, seed)
    female, ap = phantom.sex == "F", phantom.view == "AP"
    half_width = own.uniform(0.345, 0.405) - 0.012 * female
    apex = own.uniform(0.08, 0.14)
    floor = own.uniform(0.67, 0.77)
    ratio = own.normal(0.435, 0.034)
    tilt = own.uniform(-0.005, 0.035)
    angle = own.uniform(0.09, 0.15)
    knob = own.uniform(0.0, 0.022) * (0.4 + min(phantom.age, 80) / 60)
    fat = own.uniform(0.03, 0.085)
    slope = own.uniform(0.05, 0.17)
    rib = own.uniform(0.068, 0.08), own.uniform(0, 0.07), own.uniform(0.1, 0.17)
    breast = own.uniform(0.15, 0.55) * female
    bone = own.uniform(0.8, 1.25) * (1.1 if phantom.age < 50 else 0.92)
    share = own.uniform(0.29, 0.36)

    breath, twist = now.normal(0, 0.014), now.normal(0, 0.012 if ap else 0.006)
    floor += breath
    if ap:
        floor -= now.uniform(0.0, 0.07)
        ratio *= now.uniform(1.04, 1.14)
    if "Cardiomegaly" in phantom.findings:
        ratio = max(ratio, 0.40) * 0.2 + now.uniform(0.425, 0.56)
    elif "Edema" in phantom.findings:
        ratio += now.uniform(0.0, 0.03)
    if "Emphysema" in phantom.findings:
        strength = now.uniform(0.3, 1)
        floor, angle, ratio = floor + 0.075 * strength, angle * (1 - 0.55 * strength), ratio - 0.075 * strength
        apex -= 0.015 * strength
    if "Fibrosis" in phantom.findings:
        floor -= now.uniform(0.0, 0.035)
    dome = [floor, floor + tilt]
    shift = 0.0
    if "Atelectasis" in phantom.findings:
        side = side_of(phantom.stream(FINDING + FINDINGS.index("Atelectasis"), seed))
        dome[side > 0] -= now.uniform(0.015, 0.06)
        shift = side * now.uniform(0.0, 0.02)
    if "Effusion" in phantom.findings:
        side = side_of(phantom.stream(FINDING + FINDINGS.index("Effusion"), seed))
        shift -= side * now.uniform(0.0, 0.012)
    total = ratio * 2 * half_width
    heart = (share * total - shift, (1 - share) * total + shift)
    heart_top = max(floor - 0.31 - 0.25 * (ratio - 0.45), apex + 0.16)
    domes = (dome[0], dome[1])
    return Geometry(half_width, apex, domes, angle, heart, heart_top, knob, fat, slope, *rib, breast, bone, twist)


def pose_of(phantom: Phantom, seed: int) -> Pose:
    """How the body lies in the frame: its size depends on the patient, the rest on the image."""
    rng = phantom.stream(POSE, seed)
    own = np.random.default_rng([BUILD, seed, phantom.patient])
    ap = phantom.view == "AP"
    angle = math.radians(rng.normal(0, 2.6 if ap else 1.2))
    scale = float(np.clip(own.normal(1.0, 0.04) + rng.normal(0, 0.02) + 0.02 * ap, 0.86, 1.1))
    spread = 0.03 if ap else 0.017
    return Pose(angle, scale, (rng.normal(0, spread), rng.normal(0.005, spread)))


def step(distance: np.ndarray, width: float) -> np.ndarray:
    """Smooth step from 0 to 1 as ``distance`` goes from -width to width."""
    t = np.clip(distance * np.float32(0.5 / width) + np.float32(0.5), 0, 1)
    return t * t * (3 - 2 * t)


def _curve(points: list[tuple[float, float]], low: float, high: float) -> np.ndarray:
    """A smooth border through the points, as a table over [low, high]."""
    at, value = np.array(points, dtype=float).T
    grid = np.linspace(low, high, _TABLE)
    return PchipInterpolator(at, value)(np.clip(grid, at[0], at[-1])).astype(np.float32)


def _index(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.clip((values - low) * ((_TABLE - 1) / (high - low)) + 0.5, 0, _TABLE - 1).astype(np.intp)


def smooth_noise(rng: np.random.Generator, cells: int) -> np.ndarray:
    """Noise with a standard deviation of about 1 and lumps 1/cells of the side wide; (512, 512) float32."""
    coarse = rng.standard_normal((cells, cells), dtype=np.float32)
    return np.asarray(Image.fromarray(coarse).resize((BASE, BASE), Image.Resampling.BICUBIC)) * np.float32(1.25)


def healthy_scene(phantom: Phantom, g: Geometry, pose: Pose, seed: int) -> tuple[Scene, np.ndarray]:
    """Healthy anatomy: the fields that findings change, and the attenuation of everything but the lungs' air."""
    axis = ((np.arange(BASE, dtype=np.float32) + 0.5) / BASE).astype(np.float32)
    du, dv = axis[None, :] - np.float32(0.5 + pose.shift[0]), axis[:, None] - np.float32(0.5 + pose.shift[1])
    c, s = np.float32(math.cos(pose.angle) / pose.scale), np.float32(math.sin(pose.angle) / pose.scale)
    x = c * du + s * dv
    y = np.float32(0.5) + c * dv - s * du
    ax = np.abs(x)
    cage = np.abs(x - np.float32(g.twist))  # a turned patient: the rib cage shifts relative to the spine
    iy, ix, iax = _index(y, -0.3, 1.3), _index(x, -0.8, 0.8), _index(ax, 0, 0.8)

    def of_y(points: list[tuple[float, float]]) -> np.ndarray:
        return _curve(points, -0.3, 1.3)[iy]

    w, base = g.half_width, max(g.dome) + g.angle
    tall = base - g.apex
    wall = of_y([(g.apex + tall * t, w * q) for t, q in _WALL])
    to_wall = wall - cage
    middle = 0.40 * w
    top = _curve(
        [
            (0, g.apex + 0.1),
            (middle * 0.45, g.apex + 0.03),
            (middle, g.apex),
            (middle * 1.7, g.apex + 0.035),
            (w, g.apex + 0.16),
        ],
        0,
        0.8,
    )[iax]
    to_top = y - top
    right, left = g.dome
    deep = g.angle
    floor = _curve(
        [
            (-w * 1.03, right + deep),
            (-w * 0.93, right + deep * 0.66),
            (-w * 0.75, right + deep * 0.27),
            (-w * 0.45, right),
            (-w * 0.2, right + 0.022),
            (0, (right + left) / 2 + 0.05),
            (w * 0.27, left + 0.022),
            (w * 0.5, left),
            (w * 0.77, left + deep * 0.27),
            (w * 0.93, left + deep * 0.66),
            (w * 1.03, left + deep),
        ],
        -0.8,
        0.8,
    )[ix]
    to_floor = floor - y
    below = 0.88 * step(to_floor, 0.006) + 0.12 * step(to_floor + 0.05, 0.05)  # thin rim of the domes
    behind = step(to_wall, 0.007) * step(to_top, 0.012) * below * step(ax - 0.035, 0.012)

    middle_mask, heart_bottom = _mediastinum(g, x, of_y)
    middle_mask = middle_mask * step(heart_bottom - y, 0.03)
    lung = behind * (1 - middle_mask)
    depth = 0.58 + 0.42 * np.sqrt(np.clip(to_wall * (1 / 0.14), 0, 1))
    depth *= 0.62 + 0.38 * np.sqrt(np.clip(to_top * (1 / 0.22), 0, 1))
    depth *= 0.86 + 0.14 * np.clip(to_floor * (1 / 0.2), 0, 1)
    air = lung * depth

    body = _body(phantom, g, x, y, ax, of_y, iax)
    bones = _bones(g, x, y, Borders(iax, wall, to_wall, to_top, to_floor))
    body += bones
    _trachea_and_stomach(phantom, g, x, y, body, seed)
    texture_rng = phantom.stream(TEXTURE, seed)
    coarse = [smooth_noise(texture_rng, cells) for cells in (8, 22, 60)]
    texture = 0.8 * smooth_noise(texture_rng, 150) + 0.6 * coarse[2] + 0.22 * coarse[1] + 0.4 * coarse[0]
    body *= 1 + 0.018 * coarse[0]
    vessels = _vessels(phantom, g, pose, seed)
    scene = Scene(g, pose, x, y, ax, to_wall, to_top, to_floor, lung, behind, air, vessels, texture, np.zeros_like(x))
    scene.coarse = coarse
    return scene, body


def _mediastinum(g: Geometry, x: np.ndarray, of_y: Callable) -> tuple[np.ndarray, float]:
    """Heart, great vessels and spine seen as one bright shape between the lungs; and the Y of its lower end."""
    (to_right, to_left), top = g.heart, g.heart_top
    bottom = (g.dome[0] + g.dome[1]) / 2 + 0.05
    tall = bottom - top
    right = of_y(
        [
            (-0.1, 0.085),
            (g.apex, 0.062),
            (top - 0.12, 0.054),
            (top - 0.03, 0.058),
            (top + 0.08 * tall, 0.062),
            (top + 0.35 * tall, 0.82 * to_right),
            (top + 0.58 * tall, to_right),
            (top + 0.82 * tall, 0.93 * to_right),
            (bottom, 0.72 * to_right),
        ]
    )
    left = of_y(
        [
            (-0.1, 0.085),
            (g.apex, 0.064),
            (top - 0.13, 0.054),
            (top - 0.085, 0.064 + g.knob),
            (top - 0.05, 0.064 + 0.85 * g.knob),
            (top, 0.062 + 0.25 * g.knob),
            (top + 0.1 * tall, 0.072),
            (top + 0.3 * tall, 0.3 * to_left + 0.055),
            (top + 0.55 * tall, 0.78 * to_left + 0.012),
            (top + 0.76 * tall, to_left),
            (top + 0.9 * tall, 0.95 * to_left),
            (bottom, 0.72 * to_left),
        ]
    )
    inside = np.minimum(left - x, x + right)
    # the rim of the heart is thin, with lung in front of and behind it
    return step(inside, 0.011) * (0.64 + 0.36 * np.sqrt(np.clip(inside * (1 / 0.11), 0, 1))), bottom


def _body(
    phantom: Phantom, g: Geometry, x: np.ndarray, y: np.ndarray, ax: np.ndarray, of_y: Callable, iax: np.ndarray
) -> np.ndarray:
    """Attenuation of the soft tissue of neck, shoulders, trunk, arms and breasts."""
    outer = g.half_width + g.fat
    width = of_y(
        [
            (0, 0.66),
            (0.2, 0.66),
            (0.28, 0.62),
            (0.36, max(outer + 0.05, 0.47)),
            (0.45, outer + 0.012),
            (0.6, outer),
            (0.8, outer),
            (1.1, outer + 0.01),
        ]
    )
    round_ = np.sqrt(np.sqrt(np.clip(1 - np.square(x / width), 0, 1)))  # exponent 1/4: flat in front, steep at the rim
    shoulder = _curve(
        [
            (0, -0.3),
            (0.095, -0.25),
            (0.115, -0.06),
            (0.145, 0.015),
            (0.2, 0.04),
            (0.36, 0.04 + 0.5 * g.slope),
            (0.5, 0.04 + g.slope),
            (0.62, 0.1 + 1.6 * g.slope),
        ],
        0,
        0.8,
    )[iax]
    rise = np.sqrt(np.clip((y - shoulder) * (1 / 0.13), 0, 1))
    level = of_y(
        [(-0.1, 1.0), (0.05, 1.3), (0.16, 1.85), (0.3, 2.2), (0.5, 2.35), (0.68, 2.45), (0.8, 2.65), (1.1, 2.8)]
    )
    tissue = level * round_ * rise
    arm = of_y([(0.1, 0.42), (0.3, outer + 0.02), (0.45, outer + 0.05), (0.6, outer + 0.09), (0.9, outer + 0.16)])
    arms = 1.35 * np.sqrt(np.clip((ax - arm) * (1 / 0.06), 0, 1)) * step(y - 0.22 - g.slope, 0.08)
    np.maximum(tissue, arms, out=tissue)
    if g.breast:
        down = (y - (g.dome[0] - 0.03)) * (1 / 0.17)
        across = (ax - 0.56 * g.half_width) * (1 / (0.48 * g.half_width))
        r2 = np.square(down) + np.square(across)
        tissue += g.breast * step(1 - r2, 0.35) * (1 - 0.4 * step(-down, 0.9))
    tissue += 0.03
    return tissue


@dataclass(frozen=True)
class Borders:
    """Where each pixel lies: its place in a table over |X|, the |X| of the chest wall at its height, and its distances to the
    wall, the apex border and the diaphragm as in `Scene`; each (512, 512)."""

    iax: np.ndarray
    wall: np.ndarray
    to_wall: np.ndarray
    to_top: np.ndarray
    to_floor: np.ndarray


def _bones(g: Geometry, x: np.ndarray, y: np.ndarray, at: Borders) -> np.ndarray:
    """Attenuation of ribs, collar bones, shoulder blades, upper arms and spine."""
    ax, iax, to_wall, to_top, to_floor = np.abs(x), at.iax, at.to_wall, at.to_top, at.to_floor
    q = np.minimum(ax / np.maximum(at.wall, 0.05), 1.02)
    inside = step(to_wall + 0.012, 0.007) * step(to_top + 0.02, 0.02)
    # profile of a rib across its width: a body with denser rims; distances in units of the gap
    grid = np.linspace(0, 0.5, 256)
    half = 0.2
    profile = 0.62 / (1 + np.exp((grid - half) / 0.018)) + 0.5 * np.exp(-np.square((grid - half + 0.02) / 0.035))
    profile = profile.astype(np.float32)

    q2 = q * q
    back = (y - g.rib_start - g.rib_drop * (q2 * q2 * 0.75 + 0.25 * q2) + 0.05 * q * (1 - q)) * (1 / g.rib_gap)
    back -= np.rint(back)
    bones = profile[(np.abs(back) * 510).astype(np.intp)] * (0.145 * inside * step(ax - 0.04, 0.02))
    front = (y - g.rib_start - 0.02 - g.rib_drop - 0.115 * (1 - q) - 0.06 * np.square(1 - q)) * (1 / (g.rib_gap * 1.12))
    front -= np.rint(front)
    fade = step(q - 0.55, 0.2)
    bones += profile[(np.abs(front) * 510).astype(np.intp)] * (0.1 * inside * fade * step(y - 0.24, 0.06))
    bones += 0.2 * np.exp(-np.square((to_wall + 0.004) * (1 / 0.012))) * step(to_top + 0.01, 0.03)
    bones *= 0.55 + 0.45 * step(to_floor + 0.04, 0.05)

    clavicle = _curve([(0.02, 0.215), (0.07, 0.205), (0.14, 0.178), (0.22, 0.155), (0.3, 0.152), (0.4, 0.165)], 0, 0.8)[
        iax
    ] + np.float32(g.apex - 0.1 + 0.15 * g.slope)
    off = np.abs(y - clavicle)
    ends = step(ax - 0.03, 0.01) * step(0.37 - ax, 0.05)
    bones += ends * (0.2 * step(0.013 - off, 0.003) + 0.13 * np.exp(-np.square((off - 0.012) * (1 / 0.004))))

    drop = 0.12 + 0.6 * g.slope
    head = np.sqrt(np.square(ax - 0.445) + np.square(y - drop - 0.06)) * (1 / 0.05)
    bones += 0.16 * step(1 - head, 0.16) + 0.05 * np.exp(-np.square((head - 0.94) * (1 / 0.07)))
    shaft = np.abs(ax - 0.455 - 0.12 * (y - drop - 0.06))
    bones += (0.22 * step(0.026 - shaft, 0.004)) * step(y - drop - 0.09, 0.02)
    blade = ax - (0.345 + 0.2 * (y - 0.2) + 0.3 * np.square(y - 0.3))
    inner = step(y - 0.17, 0.04) * step(0.46 - y, 0.05)
    bones += inner * 0.07 * np.exp(-np.square(blade * (1 / 0.005)))
    bones += inner * 0.07 * step(blade, 0.006) * step(0.06 - blade, 0.03)

    spine = step(0.044 + 0.008 * y - ax, 0.012)
    disc = (y - 0.02) * (1 / 0.062)
    disc -= np.rint(disc)
    bones += spine * (0.3 - 0.16 * np.exp(-np.square(disc * (1 / 0.1))))
    bones += 0.05 * np.exp(-np.square((ax - 0.045) * (1 / 0.006)))
    process = np.square(x * (1 / 0.008)) + np.square(disc * (1 / 0.28))
    bones += 0.12 * np.exp(-process)
    bones *= np.float32(g.bone)
    return bones


def _trachea_and_stomach(
    phantom: Phantom, g: Geometry, x: np.ndarray, y: np.ndarray, tissue: np.ndarray, seed: int
) -> None:
    """Take the air of windpipe, main bronchi, stomach and bowel out of the soft tissue, in place."""
    rng = phantom.stream(STOMACH, seed)
    carina = g.heart_top - 0.015
    pipe = np.abs(x + 0.006 + 0.02 * y) * (1 / 0.02)
    tissue -= 0.42 * step(1 - pipe, 0.35) * step(carina - y, 0.02)
    below = y - carina
    for side, steep in ((-1, 0.75), (1, 1.0)):
        off = np.abs(side * (x + 0.012) - below * steep) * (1 / 0.015)
        tissue -= 0.25 * step(1 - off, 0.4) * step(below, 0.01) * step(0.075 - below, 0.02)
    if rng.random() < 0.75:
        cx, cy = g.half_width * rng.uniform(0.3, 0.6), g.dome[1] + rng.uniform(0.045, 0.07)
        a, b = rng.uniform(0.045, 0.095), rng.uniform(0.022, 0.045)
        r = np.sqrt(np.square((x - cx) * (1 / a)) + np.square((y - cy) * (1 / b)))
        level = cy + b * rng.uniform(0.1, 0.9)
        tissue -= rng.uniform(0.7, 1.5) * step(1 - r, 0.12) * step(level - y, 0.004)
    for _ in range(int(rng.integers(0, 4))):
        cx, cy, a = rng.uniform(-0.2, 0.3), max(g.dome) + rng.uniform(0.13, 0.28), rng.uniform(0.02, 0.04)
        r = np.sqrt(np.square(x - cx) + np.square((y - cy) * 1.3)) * (1 / a)
        tissue -= rng.uniform(0.4, 0.9) * step(1 - r, 0.3)


def _vessels(phantom: Phantom, g: Geometry, pose: Pose, seed: int) -> np.ndarray:
    """Branching markings that leave the hila and thin out towards the wall; attenuation."""
    rng = np.random.default_rng([VESSELS, seed, phantom.patient])
    segments = []
    hila = [(sign, sign * 0.078, g.heart_top + 0.055 - 0.015 * sign) for sign in (-1, 1)]
    for sign, hx, hy in hila:
        stack = []
        for k in range(11):
            share = 2 * (k + rng.uniform(-0.4, 0.4)) / 10 - 1
            angle = 0.15 + 1.35 * math.copysign(abs(share) ** 0.75, share)  # mostly up and down, few straight out
            stack.append((hx, hy + 0.06 * share + rng.normal(0, 0.012), angle, rng.uniform(3.5, 7.5), 0))
        while stack:
            px, py, angle, thick, order = stack.pop()
            bend = rng.normal(0, 0.1)
            for _ in range(4):
                angle += bend + rng.normal(0, 0.1)
                length = rng.uniform(0.016, 0.031)
                nx, ny = px + sign * length * math.cos(angle), py + length * math.sin(angle)
                segments.append((thick, px, py, nx, ny))
                px, py, thick = nx, ny, thick * 0.91
            if order < 4:
                stack.append((px, py, angle + rng.uniform(0.15, 0.55), thick * rng.uniform(0.65, 0.9), order + 1))
                stack.append((px, py, angle - rng.uniform(0.15, 0.5), thick * rng.uniform(0.65, 0.9), order + 1))
    segments.sort()
    values = np.array(segments)
    side = 2 * BASE
    picture = Image.new("L", (side, side))
    pen = ImageDraw.Draw(picture)
    ends = [*pose.to_frame(values[:, 1], values[:, 2]), *pose.to_frame(values[:, 3], values[:, 4])]
    for thick, line in zip(values[:, 0].tolist(), (np.stack(ends, axis=1) * side).tolist(), strict=True):
        pen.line(line, fill=min(255, int(70 + 17 * thick)), width=max(1, round(thick)))

    root = Image.new("L", (BASE // 4, BASE // 4))
    pen = ImageDraw.Draw(root)
    for sign, hx, hy in hila:
        for _ in range(9):
            y = rng.normal(0, 0.035)
            u, v = pose.to_frame(hx + sign * (rng.uniform(-0.015, 0.02) + 0.25 * max(y, 0)), hy + y)
            u, v, r = float(u) * root.width, float(v) * root.width, rng.uniform(0.9, 2.2)
            pen.ellipse((u - r, v - r, u + r, v + r), fill=int(rng.integers(90, 200)))
    root = root.filter(ImageFilter.GaussianBlur(0.9)).resize((BASE, BASE), Image.Resampling.BICUBIC)
    fine = _blur(np.asarray(picture.reduce(2), dtype=np.float32))
    return 0.34 / 255 * fine + 0.4 / 255 * np.asarray(root, dtype=np.float32)


def _blur(values: np.ndarray) -> np.ndarray:
    """Smooth with (1, 2, 1)/4 along both axes."""
    out = values.copy()
    out[1:-1] = 0.5 * values[1:-1] + 0.25 * (values[:-2] + values[2:])
    values = out.copy()
    out[:, 1:-1] = 0.5 * values[:, 1:-1] + 0.25 * (values[:, :-2] + values[:, 2:])
    return out
