"""Boxes around findings: their geometry in the 1024 frame, and the release's box list.

A box is x0, y0, x1, y1 in pixels of the original 1024×1024 image, origin top left, end exclusive. Arrays of boxes are
(K, 4) floats; K = 0 is allowed everywhere.
"""

import csv
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from cxr.errors import InputError
from cxr.labels import BOX_ALIASES, BOXED_FINDINGS

FRAME = 1024
GRID = 16
LARGE_WIDTH, LARGE_HEIGHT = 384, 256  # "larger than 384x256 pixels" (paper, section 2.3)
OVERHANG = 1.0  # pixels a box may stick out of the frame: rounding of whoever drew it
SMALLEST = 0.001  # pixels a side must have to survive the three decimals of the box text
BOX_COLUMNS = ["image", "label", "x0", "y0", "x1", "y1"]
REJECTED_COLUMNS = ["table", "row", "item", "reason", "detail"]

BOX_HEADER = {  # what the release calls a column: what mirrors call it, reduced to lower-case letters and digits
    "Image Index": ("imageindex",),
    "Finding Label": ("findinglabel",),
    "Bbox [x": ("bboxx", "bboxxywh", "x"),
    "y": ("y",),
    "w": ("w",),
    "h]": ("h",),
}


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


def _segments(lines: np.ndarray, start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut an axis at the grid lines and at all box edges; say which boxes (K, segments) cover which segment."""
    cuts = np.unique(np.concatenate([lines, start, end]))
    middle = (cuts[:-1] + cuts[1:]) / 2
    inside = (start[:, None] <= middle) & (middle < end[:, None])
    return cuts, inside.astype(np.float64)


def pixel_mask(boxes: ArrayLike, side: int = FRAME) -> np.ndarray:
    """Pixels whose centre lies inside any box, the frame scaled to side×side pixels.

    boxes: (K, 4) in the 1024 frame. Returns (side, side) bool, row = y, column = x.
    """
    centres = (np.arange(side) + 0.5) * (FRAME / side)
    mask = np.zeros((side, side), dtype=bool)
    for x0, y0, x1, y1 in as_boxes(boxes):
        left, right = np.searchsorted(centres, [x0, x1])
        top, bottom = np.searchsorted(centres, [y0, y1])
        mask[top:bottom, left:right] = True
    return mask


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

    boxes: (K, 4). Returns (K,) bool arrays: "both" (width > 384 and height > 256), "either" (so, or turned by 90°),
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


def read_box_table(path: str | Path, known_images: Collection[str] | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the release's box list, ``BBox_List_2017.csv`` (984 boxes on 880 images, 8 labels, as x, y, w, h).

    known_images: names of the label table, or None to accept any. A box that sticks out of the frame by at most one
    pixel is clipped to it, by more is rejected. Returns (boxes, rejected): boxes in file order with the columns
    ``BOX_COLUMNS`` (labels in the label table's spelling, corners in the 1024 frame), rejected rows with the columns
    ``REJECTED_COLUMNS``. Raises InputError where the file is no such list, where all of its rows are rejected, or
    more than half (boxes for unknown images aside).
    """
    path = Path(path)
    header, rows = read_rows(path, "the box list (BBox_List_2017.csv)")
    columns = _box_columns(path, header)
    images = rows[columns["Image Index"]].str.strip()
    written = rows[columns["Finding Label"]].str.strip()
    labels = written.replace(BOX_ALIASES)
    texts = rows[[columns[name] for name in ("Bbox [x", "y", "w", "h]")]]
    x, y, w, h = (pd.to_numeric(texts[at], errors="coerce").to_numpy(np.float64) for at in texts)
    drawn = np.stack([x, y, x + w, y + h], axis=1)
    clipped = np.clip(drawn, 0, FRAME)
    left_over = (clipped[:, 2:] - clipped[:, :2]).min(axis=1)
    unnamed = [at for at, name in enumerate([*header, ""]) if not name and at not in columns.values()]
    extra = rows[unnamed].agg("".join, axis=1).str.strip()

    def numbers(position: int) -> str:
        return "x, y, w, h = " + ", ".join(texts.iloc[position])

    boxes = pd.DataFrame(clipped, columns=BOX_COLUMNS[2:], index=rows.index)
    boxes.insert(0, "image", images)
    boxes.insert(1, "label", labels)
    accepted, rejected = set_aside(
        path.name,
        images,
        [
            (extra != "", "too many fields", lambda i: f"'{extra.iloc[i]}'"),
            (~np.isfinite(drawn).all(axis=1), "coordinate is not a number", numbers),
            (
                ~images.isin(images if known_images is None else list(known_images)),
                "unknown image",
                lambda i: f"'{images.iloc[i]}' is not in the label table",
            ),
            (
                ~labels.isin(BOXED_FINDINGS),
                "unknown label",
                lambda i: f"'{written.iloc[i]}' is none of {', '.join(BOXED_FINDINGS)}",
            ),
            (np.minimum(w, h) < SMALLEST, "zero or negative size", numbers),
            ((np.abs(drawn - clipped).max(axis=1) > OVERHANG) | (left_over < SMALLEST), "outside the frame", numbers),
            (boxes.assign(extra=extra).duplicated(), "duplicate row", numbers),
        ],
    )
    bad = int((rejected["reason"] != "unknown image").sum())
    if len(rejected) == len(rows) or 2 * bad > len(rows):
        raise InputError(f"{path}: {len(rejected)} of {len(rows)} boxes are unusable: {first_reasons(rejected)}")
    return boxes[accepted].reset_index(drop=True), rejected


def _box_columns(path: Path, header: Sequence[str]) -> dict[str, int]:
    leading = {name: BOX_HEADER[name] for name in ("Image Index", "Finding Label", "Bbox [x")}
    columns = find_columns(path, header, leading)
    first = columns["Bbox [x"]
    if header[first + 1 : first + 4] == ["", "", ""]:  # one quoted name "Bbox [x,y,w,h]" over four columns
        return columns | {"y": first + 1, "w": first + 2, "h]": first + 3}
    return find_columns(path, header, BOX_HEADER)


def read_rows(path: Path, expected: str) -> tuple[list[str], pd.DataFrame]:
    """Read a CSV file as text: its header fields, and its rows under the line numbers they have in the file.

    Rows are padded with "" to one column more than the header has; that last one holds whatever a row has beyond the
    header. Blank lines are no rows. Raises InputError for a file that is missing, unreadable, empty or no text.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = [name.strip() for name in next(reader, [])]
            rows = [(reader.line_num, *_padded(row, len(header))) for row in reader if any(row)]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected {expected}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: is not a CSV text file ({error}); expected {expected}") from None
    if not any(header):
        raise InputError(f"{path}: is empty; expected {expected}")
    if not rows:
        raise InputError(f"{path}: holds a header but no rows; expected {expected}")
    lines, *columns = zip(*rows, strict=True)
    return header, pd.DataFrame(dict(enumerate(columns)), index=lines, dtype="str")


def _padded(row: list[str], width: int) -> list[str]:
    if len(row) == width:
        return [*row, ""]
    return [*row[:width], *[""] * (width - len(row)), ",".join(row[width:]).strip(", ")]


def find_columns(path: Path, header: Sequence[str], names: Mapping[str, Collection[str]]) -> dict[str, int]:
    """Find the positions of named columns in a header.

    names: official name -> spellings accepted, reduced to lower-case letters and digits. Raises InputError naming the
    missing columns and the header found.
    """
    reduced = ["".join(filter(str.isalnum, name)).lower() for name in header]
    columns = {
        name: next(at for at, found in enumerate(reduced) if found in spellings)
        for name, spellings in names.items()
        if set(spellings) & set(reduced)
    }
    missing = ", ".join(f"'{name}'" for name in names if name not in columns)
    if missing:
        raise InputError(f"{path}: column {missing} is missing; the header found is '{','.join(header)[:300]}'")
    return columns


def set_aside(
    table: str, items: pd.Series, checks: Sequence[tuple[ArrayLike, str, Callable[[int], str]]]
) -> tuple[np.ndarray, pd.DataFrame]:
    """Separate the rows of a table that no check objects to from the rest.

    table: name of the file. items: (N,) what each row is about, indexed by line number. checks: (objections (N,) bool,
    reason, function from a row's position to the detail); the first objection to a row counts. Returns (accepted (N,)
    bool, table of the rejected rows with the columns ``REJECTED_COLUMNS``).
    """
    objections = np.stack([np.asarray(objection, dtype=bool) for objection, _, _ in checks])
    accepted = ~objections.any(axis=0)
    positions = np.flatnonzero(~accepted)
    first = objections[:, positions].argmax(axis=0)
    rejected = pd.DataFrame(
        {
            "table": table,
            "row": pd.array(items.index[positions], dtype="Int64"),
            "item": items.iloc[positions].to_numpy(),
            "reason": [checks[check][1] for check in first],
            "detail": [checks[check][2](position) for check, position in zip(first, positions, strict=True)],
        },
        columns=REJECTED_COLUMNS,
    )
    return accepted, rejected


def first_reasons(rejected: pd.DataFrame, count: int = 3) -> str:
    """Say in one line what is wrong with the first few rejected rows."""
    shown = [
        f"row {row.row} ({row.item}): {row.reason} ({row.detail})"
        for row in rejected.head(count).itertuples(index=False)
    ]
    return "; ".join(shown) + ("; ..." if len(rejected) > count else "")
