"""Truth and predictions of boxed images, in one form for every detector.

Predicted boxes become cells by the rule of the target (paper, sections 2.3.1 and 2.3.3): a cell's confidence is the highest
at which boxes of at least that confidence cover more than half of it. So box detectors and the grid CNN share one grid.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from cxr.boxes import FRAME, GRID, PREDICTION_COLUMNS, as_boxes, cell_coverage, parse_box_text
from cxr.errors import InputError
from cxr.labels import BOXED_FINDINGS
from cxr.metrics.classification import check_same_images, first_names
from cxr.metrics.image_boxes import ImageBoxes


@dataclass(frozen=True)
class Cells:
    """Confidences in [0, 1] of cells, row = y. images: (N,); confidence: (N, 16, 16) of any finding; findings: of each one.

    probability: (N, 16, 16) of any finding, where `confidence` is a decision score instead of a probability.
    """

    images: np.ndarray
    confidence: np.ndarray
    findings: Mapping[str, np.ndarray] = field(default_factory=dict)
    probability: np.ndarray | None = None


@dataclass(frozen=True)
class Answers:
    """A detector's predictions for N images, in the order of their split.

    cells: (N, 16, 16) float64, confidence that any finding is there. boxes: one entry per image, or None for a detector of
    cells. findings: finding -> (N, 16, 16), from a detector of cells that distinguishes findings. probability:
    (N, 16, 16), equal to `cells` unless these are decision scores.
    """

    cells: np.ndarray
    boxes: list[ImageBoxes] | None
    findings: Mapping[str, np.ndarray]
    probability: np.ndarray

    @staticmethod
    def of(images: pd.Series, boxes: pd.DataFrame | None, cells: Cells | None, who: str) -> "Answers":
        """Put predictions in the order of `images`; either boxes (``PREDICTION_COLUMNS``) or cells.

        Raises InputError where predictions and images do not match, or a value is not a number.
        """
        if (boxes is None) == (cells is None):
            raise ValueError("give either boxes or cells")
        if cells is not None:
            findings = {
                finding: aligned_cells(cells.images, confidence, images, f"{who}, {finding}")
                for finding, confidence in cells.findings.items()
            }
            confidence = aligned_cells(cells.images, cells.confidence, images, who)
            apart = cells.probability is not None
            probability = aligned_cells(cells.images, cells.probability, images, who) if apart else confidence
            return Answers(confidence, None, findings, probability)
        predicted = predicted_boxes(boxes, images, who)
        painted = _as_cells(predicted)
        return Answers(painted, predicted, {}, painted)

    @staticmethod
    def pooled(parts: Sequence["Answers"]) -> "Answers":
        """Join the predictions of several folds, one after the other."""
        boxes = None if parts[0].boxes is None else [image for part in parts for image in part.boxes or ()]
        told = set.intersection(*(set(part.findings) for part in parts))
        findings = {finding: np.concatenate([part.findings[finding] for part in parts]) for finding in told}
        cells, probability = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("cells", "probability")
        )
        return Answers(cells, boxes, findings, probability)

    @property
    def foreign(self) -> bool:
        """Whether boxes have labels and none of them is a finding: a network trained on other classes."""
        named = {label for image in self.boxes or () for label in image.labels}
        return bool(named) and not named & set(BOXED_FINDINGS)

    def tells(self, finding: str) -> bool:
        """Whether the detector can predict this finding by name."""
        return finding in self.findings if self.boxes is None else not self.foreign

    def of_finding(self, finding: str, at: np.ndarray) -> np.ndarray:
        """Confidences of the finding, (n, 16, 16), on the images at these places; of any finding if it is not distinguished."""
        if not self.tells(finding):
            return self.cells[at]
        if self.boxes is None:
            return self.findings[finding][at]
        return _as_cells([self.boxes[place].of_label(finding) for place in at])


def truth_boxes(truth: pd.DataFrame) -> list[ImageBoxes]:
    """Read the box text of a split of boxed images, one entry per image in the order of the table."""
    parsed = [parse_box_text(text) for text in truth["boxes"].fillna("")]  # pandas reads an empty text as NaN
    return [
        ImageBoxes(
            np.array([box[0] for box in boxes], dtype=object), np.ones(len(boxes)), as_boxes([box[1:] for box in boxes])
        )
        for boxes in parsed
    ]


def predicted_boxes(predictions: pd.DataFrame, images: pd.Series, who: str) -> list[ImageBoxes]:
    """Group predicted boxes by image, one entry per image in the order of `images`; boxes are clipped to the frame.

    Raises InputError where a column is missing, a box belongs to an image not in `images`, or a value is not a number.
    """
    missing = [column for column in PREDICTION_COLUMNS if column not in predictions]
    if missing:
        raise InputError(f"{who}: column '{missing[0]}' is missing; predict again")
    foreign = predictions["image"][~predictions["image"].isin(images)].drop_duplicates()
    if len(foreign):
        raise InputError(
            f"{who}: {len(foreign)} images are not in the split (first: {first_names(foreign)}); predictions and split "
            "come from different runs: predict again"
        )
    numbers = predictions[PREDICTION_COLUMNS[2:]].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    wrong = ~np.isfinite(numbers).all(axis=1) | (numbers[:, 0] < 0) | (numbers[:, 0] > 1)
    if wrong.any():
        raise InputError(
            f"{who}: {wrong.sum()} boxes have a coordinate that is not a number, or a confidence outside 0 to 1 "
            f"(first: {first_names(predictions['image'][wrong])}); the training diverged, or the file was altered"
        )
    labels, corners = predictions["label"].to_numpy(object), np.clip(numbers[:, 1:], 0, FRAME)
    rows = predictions.groupby("image").indices
    nothing = np.empty(0, dtype=np.intp)
    return [
        ImageBoxes(labels[at], numbers[at, 0], corners[at]) for at in (rows.get(image, nothing) for image in images)
    ]


def aligned_cells(names: np.ndarray, confidence: np.ndarray, images: pd.Series, who: str) -> np.ndarray:
    """Return confidences of cells (of one finding, or of any) in the order of `images`: (N, 16, 16) float64.

    names: (N,) image of each entry of `confidence`, (N, 16, 16). Raises InputError where the images differ or a value lies
    outside [0, 1].
    """
    names, confidence = pd.Series(names), np.asarray(confidence, dtype=np.float64)
    if confidence.shape != (len(names), GRID, GRID):
        raise InputError(
            f"{who}: confidences have shape {confidence.shape}, not {(len(names), GRID, GRID)}; predict again"
        )
    check_same_images(names, images, who)
    confidence = confidence[pd.Index(names).get_indexer(images)]
    wrong = ~((confidence >= 0) & (confidence <= 1)).all(axis=(1, 2))
    if wrong.any():
        raise InputError(
            f"{who}: {wrong.sum()} images have a confidence outside 0 to 1 (first: {first_names(images[wrong])}); "
            "the training diverged, or the file was altered"
        )
    return confidence


def cell_confidence(boxes: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """Turn boxes into confidences of cells: the highest c such that boxes of confidence >= c cover more than half.

    boxes: (K, 4); confidence: (K,). Returns (16, 16) float64; 0 for a cell of which all boxes together cover no
    more than half. Cutting the result at a threshold equals covering cells with the boxes that reach the threshold.
    """
    count, order = len(confidence), np.argsort(confidence, kind="stable")
    lines = np.arange(GRID + 1) * (FRAME / GRID)
    x, y, painted = paint(as_boxes(boxes)[order], np.arange(1, count + 1), lines, lines)  # with ranks; 0: no box
    columns = np.searchsorted(lines, x[:-1], side="right") - 1
    rows = np.searchsorted(lines, y[:-1], side="right") - 1
    place = np.add.outer(rows * GRID, columns) * (count + 1) + painted.astype(np.intp)
    area = np.bincount(place.ravel(), np.outer(np.diff(y), np.diff(x)).ravel(), minlength=GRID**2 * (count + 1))
    covered = area.reshape(GRID**2, count + 1)[:, :0:-1].cumsum(axis=1)  # by falling confidence
    enough = covered > (FRAME / GRID) ** 2 / 2 * (1 + 1e-7)  # covered by exactly half is not enough; sums are rounded
    first = np.pad(enough, ((0, 0), (0, 1)), constant_values=True).argmax(axis=1)
    return np.append(np.asarray(confidence, np.float64)[order[::-1]], 0.0)[first].reshape(GRID, GRID)


def paint(
    boxes: np.ndarray, confidence: np.ndarray, x_lines: np.ndarray, y_lines: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut the frame at all box edges and lines; give each piece the highest confidence of the boxes on it, else 0.

    Returns the cuts, x: (X + 1,) and y: (Y + 1,), and (Y, X) confidences.
    """
    boxes = np.clip(as_boxes(boxes), 0, FRAME)
    x = np.unique(np.concatenate([[0.0, FRAME], boxes[:, 0], boxes[:, 2], x_lines]))
    y = np.unique(np.concatenate([[0.0, FRAME], boxes[:, 1], boxes[:, 3], y_lines]))
    painted = np.zeros((len(y) - 1, len(x) - 1))
    order = np.argsort(confidence, kind="stable")
    for value, (left, top, right, bottom) in zip(confidence[order], places(boxes[order], x, y), strict=True):
        painted[top:bottom, left:right] = value
    return x, y, painted


def places(boxes: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Indices of the corners of boxes (K, 4) among the cuts of ``paint``: (K, 4) integers x0, y0, x1, y1."""
    columns, rows = np.searchsorted(x, boxes[:, [0, 2]]), np.searchsorted(y, boxes[:, [1, 3]])
    return np.stack([columns[:, 0], rows[:, 0], columns[:, 1], rows[:, 1]], axis=1)


def coverages(boxes: Sequence[np.ndarray]) -> np.ndarray:
    """Share of each cell that each image's boxes (K, 4) cover: (N, 16, 16) float64."""
    return np.array([cell_coverage(image) for image in boxes], dtype=np.float64).reshape(-1, GRID, GRID)


def _as_cells(images: Sequence[ImageBoxes]) -> np.ndarray:
    return np.array([cell_confidence(image.boxes, image.confidence) for image in images]).reshape(-1, GRID, GRID)
