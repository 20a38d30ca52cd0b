"""Boxes around findings: their geometry in the 1024 frame.

A box is x0, y0, x1, y1 in pixels of the original 1024×1024 image, origin top left, end exclusive. Arrays of boxes are
(K, 4) floats; K = 0 is allowed everywhere.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

from cxr.errors import InputError

CORNERS = ["x0", "y0", "x1", "y1"]  # columns of a table of boxes
PREDICTION_COLUMNS = ["image", "label", "confidence", *CORNERS]  # of a table of predicted boxes
FRAME = 1024
GRID = 16
VISIBLE = (
    0.25  # confidence of a box that shows in a learning curve: the default threshold. Another one retrains nothing
)
LARGE_WIDTH, LARGE_HEIGHT = 384, 256  # "larger than 384x256 pixels" (paper, section 2.3)


def as_boxes(boxes: ArrayLike) -> np.ndarray:
    """Return boxes as a (K, 4) float64 array; an empty list becomes (0, 4)."""
    return np.asarray(boxes, dtype=np.float64).reshape(-1, 4)


def areas(boxes: ArrayLike) -> np.ndarray:
    """Areas, (K,) float64, in square pixels; 0 for a box whose end lies before its start."""
    boxes = as_boxes(boxes)
    return np.clip(boxes[:, 2] - boxes[:, 0], 0, None) * np.clip(boxes[:, 3] - boxes[:, 1], 0, None)


def cell_coverage(boxes: ArrayLike, grid: int = GRID) -> np.ndarray:
    """Share of each cell of a grid over the frame that the union of the boxes covers, exactly.

    boxes: (K, 4). Returns (grid, grid) float32 in [0, 1], row = y, column = x. The paper's target is ``> 0.5`` of it
    (section 2.3.3: 16×16 cells of 64×64 pixels).
    """
    boxes = np.clip(as_boxes(boxes), 0, FRAME)
    lines = np.arange(grid + 1) * (FRAME / grid)
    x, x_inside = _segments(lines, boxes[:, 0], boxes[:, 2])
    y, y_inside = _segments(lines, boxes[:, 1], boxes[:, 3])
    covered = (y_inside.T @ x_inside > 0) * np.outer(np.diff(y), np.diff(x))
    rows = np.add.reduceat(covered, np.searchsorted(y, lines[:-1]), axis=0)
    cells = np.add.reduceat(rows, np.searchsorted(x, lines[:-1]), axis=1)
    return np.clip(cells / (FRAME / grid) ** 2, 0, 1).astype(np.float32)


def cell_targets(images: Iterable[ArrayLike]) -> np.ndarray:
    """The paper's target (section 2.3.3): the cells that the boxes of an image cover by more than half.

    images: for each image its boxes (K, 4). Returns (N, 16, 16) bool.
    """
    return np.array([cell_coverage(boxes) > 0.5 for boxes in images], dtype=bool).reshape(-1, GRID, GRID)


def _segments(lines: np.ndarray, start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut an axis at the grid lines and at all box edges; also return which boxes (K, segments) cover which segment."""
    cuts = np.unique(np.concatenate([lines, start, end]))
    middle = (cuts[:-1] + cuts[1:]) / 2
    inside = (start[:, None] <= middle) & (middle < end[:, None])
    return cuts, inside.astype(np.float64)


def intersections(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """Areas, (N, M) float64, that each of a: (N, 4) shares with each of b: (M, 4)."""
    a, b = as_boxes(a)[:, None], as_boxes(b)[None]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    return np.clip(sides, 0, None).prod(axis=-1)


def iou(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """Intersection over union, (N, M) float64 in [0, 1], of a: (N, 4) and b: (M, 4); 0 where the union is empty."""
    shared = intersections(a, b)
    return _share(shared, areas(a)[:, None] + areas(b)[None] - shared)


def iobb(predicted: ArrayLike, truth: ArrayLike) -> np.ndarray:
    """Intersection over the predicted box's own area, (N, M) float64 in [0, 1]; 0 where that area is 0.

    predicted: (N, 4); truth: (M, 4). Wang et al. (CVPR 2017, section 4.2) call it IoBB; unlike IoU it does not punish
    a prediction for being smaller than the box drawn.
    """
    shared = intersections(predicted, truth)
    return _share(shared, np.broadcast_to(areas(predicted)[:, None], shared.shape))


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def is_large(boxes: ArrayLike) -> dict[str, np.ndarray]:
    """Which boxes are "larger than 384x256 pixels" in the three senses the paper's phrase can have.

    boxes: (K, 4). Returns (K,) bool arrays: "both" (width > 384 and height > 256), "either" (the same, or turned by 90°),
    "area" (width × height > 384 × 256). Of the release's 984 boxes these are 184, 224 and 296.
    """
    boxes = as_boxes(boxes)
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    lying = (width > LARGE_WIDTH) & (height > LARGE_HEIGHT)
    standing = (width > LARGE_HEIGHT) & (height > LARGE_WIDTH)
    return {"both": lying, "either": lying | standing, "area": areas(boxes) > LARGE_WIDTH * LARGE_HEIGHT}


def format_box_text(boxes: Iterable[tuple[str, float, float, float, float]]) -> str:
    """Write (label, x0, y0, x1, y1) as ``"Mass 1.000 2.000 3.000 4.000;Nodule ..."``, rounded to 0.001 pixel."""
    return ";".join(f"{label} {x0:.3f} {y0:.3f} {x1:.3f} {y1:.3f}" for label, x0, y0, x1, y1 in boxes)


def parse_box_text(text: str) -> list[tuple[str, float, float, float, float]]:
    """Read what ``format_box_text`` wrote; "" is no box. Raises InputError quoting what it cannot read."""
    boxes = []
    for part in filter(None, text.split(";")):
        try:
            label, x0, y0, x1, y1 = part.rsplit(" ", 4)
            boxes.append((label, float(x0), float(y0), float(x1), float(y1)))
        except ValueError:
            raise InputError(f"'{part}' is not a box: expected 'Label x0 y0 x1 y1'") from None
    return boxes
