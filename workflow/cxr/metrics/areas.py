"""The paper's area scores (section 2.3.1): precision, recall and F1 of the area marked as diseased.

For an image with target y and prediction ŷ, precision is |y∩ŷ| / |ŷ| and recall |y∩ŷ| / |y|; both are averaged over
images, and F1 is computed from the two averages. An image without a prediction counts with precision 0. An image whose
boxes cover no cell by more than half counts with precision 0; it has no recall and is left out of that average only.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cxr.boxes import FRAME, as_boxes
from cxr.metrics.bootstrap import Estimate, ratio, weighted_ratios
from cxr.metrics.detections import ImageBoxes, paint, places

CANDIDATES = 200  # thresholds tried by best_cut


@dataclass(frozen=True)
class AreaScores:
    """precision, recall: per image, (N,) float64; precision is 0 without a prediction, recall NaN without a target."""

    precision: np.ndarray
    recall: np.ndarray
    empty: np.ndarray  # (N,) bool: nothing predicted

    @staticmethod
    def of(shared: np.ndarray, predicted: np.ndarray, target: np.ndarray) -> "AreaScores":
        """Compute the scores from each image's areas |y∩ŷ|, |ŷ| and |y|, (N,) each."""
        shared, predicted = np.asarray(shared, np.float64), np.asarray(predicted, np.float64)
        return AreaScores(np.nan_to_num(ratio(shared, predicted)), ratio(shared, target), predicted == 0)


def area_scores(predicted: list[ImageBoxes], target: list[np.ndarray], *, weighted: bool) -> AreaScores:
    """Score boxes by exact areas ("in pixels"). target: (K, 4) boxes per image.

    weighted: weight each area by the highest confidence on it; otherwise every predicted box counts as 1.
    """
    areas = np.array(
        [_box_areas(image, boxes, weighted) for image, boxes in zip(predicted, target, strict=True)]
    ).reshape(-1, 3)
    return AreaScores.of(*areas.T)


def _box_areas(image: ImageBoxes, target: np.ndarray, weighted: bool) -> tuple[float, float, float]:
    confidence = image.confidence if weighted else np.ones(len(image.labels))
    target = np.clip(as_boxes(target), 0, FRAME)
    x, y, painted = paint(image.boxes, confidence, target[:, [0, 2]].ravel(), target[:, [1, 3]].ravel())
    inside = np.zeros(painted.shape, dtype=bool)
    for left, top, right, bottom in places(target, x, y):
        inside[top:bottom, left:right] = True
    height, width = np.diff(y), np.diff(x)
    return height @ (painted * inside) @ width, height @ painted @ width, height @ inside @ width


def cell_scores(target: np.ndarray, predicted: np.ndarray) -> AreaScores:
    """target: (N, 16, 16) share of each cell (0 and 1 for scores in cells); predicted: (N, 16, 16) or (16, 16)."""
    predicted = np.broadcast_to(predicted, target.shape)
    total = (1, 2)
    return AreaScores.of((target * predicted).sum(axis=total), predicted.sum(axis=total), target.sum(axis=total))


def binarise(confidence: np.ndarray, threshold: float | np.ndarray) -> np.ndarray:
    """Cut confidences (N, 16, 16) at one threshold, or at one per image: (N, 1, 1). Returns 0 and 1 as float64."""
    return ((confidence >= threshold) & (confidence > 0)).astype(np.float64)


def best_cut(confidence: np.ndarray, target: np.ndarray) -> float:
    """Find the threshold at which confidences have the best F1 in cells.

    confidence, target: (N, 16, 16). At most 200 thresholds are tried: occurring confidences, evenly spaced by rank. Ties go
    to the highest threshold; 1 is returned where no threshold predicts a target cell.
    """
    occurring = np.unique(confidence[confidence > 0])
    ranks = np.linspace(0, len(occurring) - 1, min(CANDIDATES, len(occurring))).round().astype(int)
    candidates = np.unique(np.append(occurring[ranks], 1.0))
    reached = np.searchsorted(candidates, confidence, side="right")  # number of thresholds that a cell reaches
    shape = len(target), len(candidates) + 1
    place = np.arange(shape[0])[:, None, None] * shape[1] + reached

    def above(weight: np.ndarray) -> np.ndarray:
        """Sum, per image, over the cells that reach each threshold, highest first: (candidates, N)."""
        sums = np.bincount(place.ravel(), weight.ravel(), minlength=shape[0] * shape[1]).reshape(shape)
        return sums[:, :0:-1].cumsum(axis=1).T

    areas = zip(above(target), above(np.ones(target.shape)), strict=True)
    scores = [_plain_f1(AreaScores.of(*each, target.sum(axis=(1, 2)))) for each in areas]
    return float(candidates[::-1][np.argmax(np.nan_to_num(scores))])


def _plain_f1(scores: AreaScores) -> float:
    defined = scores.recall[np.isfinite(scores.recall)]
    if not len(defined):
        return np.nan
    return float(_f1(scores.precision.mean(), defined.mean()))


def _f1(precision: np.ndarray | float, recall: np.ndarray | float) -> np.ndarray:
    """2PR / (P + R); 0 where both are 0, NaN where one is undefined."""
    precision, recall = np.asarray(precision, np.float64), np.asarray(recall, np.float64)
    total = precision + recall
    return np.divide(2 * precision * recall, total, out=np.where(np.isnan(total), np.nan, 0.0), where=total > 0)


def best_by_f1(estimates: Mapping[str, tuple[Estimate, Estimate, Estimate]]) -> str:
    """Return the name of the `area_estimates` with the highest F1, the first of equals; an undefined F1 is the lowest."""
    return max(estimates, key=lambda name: np.nan_to_num(estimates[name][2].value, nan=-1))


def area_estimates(scores: AreaScores, counted: np.ndarray, weights: np.ndarray) -> tuple[Estimate, Estimate, Estimate]:
    """Precision, recall and F1 over the counted images, with their bootstrap samples."""
    answerable = counted & np.isfinite(scores.recall)
    numerator = np.stack([np.where(counted, scores.precision, 0), np.where(answerable, scores.recall, 0)], axis=1)
    precision, recall = weighted_ratios(numerator, np.stack([counted, answerable], axis=1), weights)
    f1 = Estimate(float(_f1(precision.value, recall.value)), _f1(precision.samples, recall.samples))
    return precision, recall, f1
