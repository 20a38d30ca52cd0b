"""Checks that a box list is in the 1024 frame; if not, tells what its numbers look like and how to convert them.

The release's boxes lie anywhere in the 1024 frame. The shares below, of boxes that lie in a part of it or happen to look
like another form, were counted in its list of 984. A pattern with a chance below one in a million stops a run; one with
a chance below one in a hundred is reported.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cxr.boxes import FRAME

# Side of a square at the frame's origin: share of boxes that end in it, for the label with the most there; 0.01 if none do.
WITHIN = {
    256: 0.01,
    320: 0.03,
    384: 0.12,
    448: 0.19,
    512: 0.31,
    576: 0.35,
    640: 0.40,
    704: 0.49,
    768: 0.66,
    832: 0.78,
    896: 0.97,
}
LIKE_CORNERS = 0.45  # share of boxes with w > x and h > y, for the label with the most (Cardiomegaly)
LIKE_CENTRES = 0.81  # share of all boxes with x >= w / 2 and y >= h / 2; used only if boxes leave the frame
TALL_HEARTS = 0.04  # share of Cardiomegaly boxes that are not wider than tall
MEDIAN_END = 797  # pixels: half of the boxes end beyond it
IMPOSSIBLE, DOUBTFUL = 1e-6, 1e-2
# Common sides of shrunk images, in pixels.
COMMON = (100, 128, 224, 256, 299, 320, 384, 416, 448, 512, 640, 768, 800, 896)
NEARLY_ALL = 0.98  # of a table's boxes: a few may be wrong
PATIENT = re.compile(r"\d{8}(?=_)")  # in an image's name


@dataclass(frozen=True)
class Verdict:
    """problem: what the boxes look like and how to convert them, "" if they may be in the frame. doubts: sentences."""

    problem: str = ""
    doubts: tuple[str, ...] = ()


def in_shares(boxes: np.ndarray) -> np.ndarray:
    """Return which boxes, (N,) bool, look like shares of the image's side: under a pixel, in the frame's first pixel.

    boxes: (N, 4) x, y, w, h.
    """
    return (np.abs(boxes) <= 1.05).all(axis=1) & (boxes[:, 2:].min(axis=1) < 1)


def judge(boxes: np.ndarray, images: Sequence[str], labels: Sequence[str]) -> Verdict:
    """Judge whether boxes are x, y, w, h in pixels of the 1024 frame, and what they look like if not.

    boxes: (N, 4) as in the table; invalid ones (not finite, without size) are ignored. images, labels: (N,), of each box.
    Only one box of each patient counts as evidence, since a patient's boxes are alike.
    """
    sound = np.isfinite(boxes).all(axis=1)
    sound[sound] = (boxes[sound, 2:] > 0).all(axis=1)
    boxes, images = boxes[sound], np.asarray(images, dtype=object)[sound]
    labels = np.asarray(labels, dtype=object)[sound]
    if not len(boxes):
        return Verdict()
    shares = in_shares(boxes)
    if shares.mean() >= 0.5:
        part = boxes[shares]
        form = _corners(part, 1.0) or _centres(part, 1.0)
        return Verdict(
            f"{_all(shares)} boxes lie within 0..1, like shares of the image's side; multiply all four numbers by {FRAME}"
            + (f". Also, {form}" if form else "")
        )
    pixels = ~shares
    boxes, images, labels = boxes[pixels], images[pixels], labels[pixels]
    patients = _patients(images)
    outside = _outside(boxes, FRAME)
    corner_chance = _chance(_most(~_corner_law(boxes), patients), LIKE_CORNERS)
    corners = corner_chance < IMPOSSIBLE or (
        _holds(_corner_law(boxes)) and (outside.mean() > 0.5 or (outside.mean() > 0.25 and corner_chance < 1e-3))
    )
    ends = _ends(boxes, "corners" if corners else "size")
    square, side_chance = _square(ends, patients)
    if side_chance < IMPOSSIBLE and np.quantile(ends, NEARLY_ALL, method="higher") <= COMMON[-1]:
        likely = corners or (corner_chance < DOUBTFUL and _holds(_corner_law(boxes)))
        return Verdict(_smaller(boxes, patients, "corners" if likely else "size"))
    if corners:
        return Verdict(f"{_all(_corner_law(boxes))} boxes have w > x and h > y{_leaving(outside)}: {CORNERS}")
    middles = _holds(_centre_law(boxes)) and _within(boxes, FRAME, "centre")
    middle = (
        f"{_some(outside)} end outside the {FRAME} frame, and none would if x and y were the boxes' middle: {CENTRES}"
    )
    if middles and _matters(outside, boxes):
        return Verdict(middle)
    if outside.mean() > 0.5 or (outside.sum() >= 3 and outside.mean() > 0.15):
        larger = (
            f"{_some(outside)} end outside the {FRAME} frame, the farthest at {ends.max():.5g}, like boxes drawn on larger "
            f"images; multiply x and w by {FRAME} / the width, and y and h by {FRAME} / the height, of the image they "
            "were drawn on"
        )
        return Verdict(f"{middle}. Otherwise, {larger}" if middles else larger)
    doubts = []
    if side_chance < DOUBTFUL:
        doubts.append(
            f"{_all(ends <= square)} boxes end within {ends[ends <= square].max():.4g} of {FRAME} pixels, which is "
            f"rare in the release; if they were drawn on smaller images, multiply all four numbers by {FRAME} / their side"
        )
    if corner_chance < DOUBTFUL:
        doubts.append(
            f"{_all(_corner_law(boxes))} boxes have w > x and h > y, which is rare in the release; if the four numbers "
            "are the corners x0, y0, x1, y1, write the width x1 - x0 and the height y1 - y0 in place of x1 and y1"
        )
    if outside.any():
        doubts.append(
            f"{_some(outside)} end outside the {FRAME} frame"
            + (
                "; none would if x and y were the boxes' middle: check that x and y are the upper left corner"
                if middles
                else ""
            )
        )
    hearts = labels == "Cardiomegaly"
    tall = boxes[:, 3] >= boxes[:, 2]
    if hearts.any() and _chance(_most(~tall[hearts], patients[hearts]), TALL_HEARTS) < 1e-3:
        doubts.append(
            f"{int((tall & hearts).sum())} of the {int(hearts.sum())} Cardiomegaly boxes are taller than wide "
            "(3% in the release); check that x and w run to the right, and y and h down"
        )
    return Verdict("", tuple(doubts))


def _smaller(boxes: np.ndarray, patients: np.ndarray, form: str) -> str:
    """Describe the smaller frame of boxes that end in too small a part of the 1024 frame."""
    ends = _ends(boxes, form)
    reach, side = np.quantile(ends, NEARLY_ALL, method="higher"), _side(ends)
    percent = " (or in percent of the side)" if side == 100 else ""
    besides = f". Also, {CORNERS}" if form == "corners" else ""
    if form == "size" and _chance(_most(~_centre_law(boxes), patients), LIKE_CENTRES) < DOUBTFUL:
        other = _side(_ends(boxes, "centre"))
        besides = (
            f". If x and y are the boxes' middle (nearly all boxes allow it), the images had about {other} pixels "
            f"({FRAME} / {other} = {FRAME / other:.5g}): {CENTRES}"
        )
    return (
        f"{_all(ends <= reach)} boxes end within {reach:.4g} of {FRAME} pixels, like boxes drawn on images of about {side} "
        f"pixels{percent}; multiply all four numbers by {FRAME} / {side} = {FRAME / side:.5g} (or by {FRAME} / the side "
        f"of the images they were drawn on){besides}"
    )


CORNERS = (
    "they look like corners x0, y0, x1, y1: write the width x1 - x0 and the height y1 - y0 in place of x1 and y1 (or name "
    "the columns x0, y0, x1, y1)"
)
CENTRES = "write x - w / 2 and y - h / 2 in place of x and y (or name the columns x_center, y_center, w, h)"


def _corner_law(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])


def _centre_law(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 0] >= boxes[:, 2] / 2 - 0.01) & (boxes[:, 1] >= boxes[:, 3] / 2 - 0.01)


def _ends(boxes: np.ndarray, form: str) -> np.ndarray:
    """How far right or down each box reaches, (N,), if its numbers have this form."""
    share = {"size": 1.0, "centre": 0.5}
    ends = boxes[:, 2:] if form == "corners" else boxes[:, :2] + share[form] * boxes[:, 2:]
    return ends.max(axis=1)


def _outside(boxes: np.ndarray, side: float) -> np.ndarray:
    return _ends(boxes, "size") > side * 1.001


def _within(boxes: np.ndarray, side: float, form: str) -> bool:
    return _holds(_ends(boxes, form) <= side * 1.001)


def _holds(law: np.ndarray) -> bool:
    return bool(law.mean() >= NEARLY_ALL)


def _corners(boxes: np.ndarray, side: float) -> str:
    """Return a sentence if boxes of a known frame look like corners, else ""."""
    many = _outside(boxes, side).any() or 0.45 ** len(boxes) < DOUBTFUL
    return CORNERS if _holds(_corner_law(boxes)) and _within(boxes, side, "corners") and many else ""


def _centres(boxes: np.ndarray, side: float) -> str:
    """Return a sentence if boxes of a known frame look like centres, else ""."""
    law = _holds(_centre_law(boxes)) and _within(boxes, side, "centre")
    looks = f"they look like a box's middle and size: {CENTRES}"
    return looks if law and _outside(boxes, side).any() else ""


def _matters(outside: np.ndarray, boxes: np.ndarray) -> bool:
    """Whether too many boxes leave the frame, or leave it too far, to be explained by careless drawing."""
    far = _ends(boxes, "size") > FRAME + 32
    return bool(outside.mean() > 0.5 or (far.sum() >= 3 and outside.mean() > 0.03))


def _patients(images: np.ndarray) -> np.ndarray:
    """A number per image, (N,), for the patient that its name begins with, else for the image itself."""
    found = [match[0] if (match := PATIENT.match(image)) else image for image in images]
    return np.unique(np.asarray(found, dtype=str), return_inverse=True)[1]


def _most(values: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """The largest value of each patient."""
    numbers = np.unique(patients, return_inverse=True)[1]
    most = np.zeros(numbers.max() + 1, dtype=values.dtype)
    np.maximum.at(most, numbers, values)
    return most


def _chance(others: np.ndarray, share: float) -> float:
    """The chance of at most this many others in N draws, each with the chance 1 - share; others: (N,) bool."""
    n, k = len(others), int(others.sum())
    logs = [
        math.lgamma(n + 1)
        - math.lgamma(i + 1)
        - math.lgamma(n - i + 1)
        + i * math.log(1 - share)
        + (n - i) * math.log(share)
        for i in range(k + 1)
    ]
    return math.fsum(map(math.exp, logs))


def _square(ends: np.ndarray, patients: np.ndarray) -> tuple[int, float]:
    """The smallest square that cannot hold this many box ends by chance, else the least likely one; and its chance."""
    farthest = _most(ends, patients)
    chances = {side: _chance(farthest > side, share) for side, share in WITHIN.items()}
    first = next((side for side, chance in chances.items() if chance < IMPOSSIBLE), None)
    side = min(chances, key=chances.__getitem__) if first is None else first
    return side, chances[side]


def _side(ends: np.ndarray) -> int:
    """The common image side that boxes with these ends were probably drawn on."""
    guess = FRAME * float(np.median(ends)) / MEDIAN_END
    possible = [side for side in COMMON if side >= 0.995 * np.quantile(ends, NEARLY_ALL)] or [FRAME]
    return min(possible, key=lambda side: abs(math.log(side / guess)))


def _all(which: np.ndarray) -> str:
    count = int(which.sum())
    return f"all {count}" if count == len(which) else f"{count} of {len(which)}"


def _some(which: np.ndarray) -> str:
    return f"{int(which.sum())} of {len(which)} boxes"


def _leaving(outside: np.ndarray) -> str:
    return f", and {int(outside.sum())} end outside the {FRAME} frame" if outside.any() else ""
