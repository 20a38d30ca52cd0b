"""Detection scores of every detector, from saved predictions, each beside its image-free floor.

The paper's scores (section 2.3.1) compare areas. For an image with target y and prediction ŷ, precision is
|y∩ŷ| / |ŷ| and recall |y∩ŷ| / |y|; both are averaged over images, and F1 is made of the two averages. Here:

- ŷ is binarised (1 where the confidence reaches a threshold) or the confidence itself (names ending in ``_weighted``).
- The main scores are in cells of the paper's 16×16 grid: a cell of y is 1 where boxes cover more than half of it.
  Predicted boxes become cells by the same rule: a cell's confidence is the highest at which boxes of at least that
  confidence cover more than half of it. So grid CNN and YOLO are scored by one definition. The scores ending in
  ``_pixels`` use exact areas instead; there a confidence applies to all of its cell, or to all of its box (the highest
  where boxes overlap).
- An image without prediction has precision 0 and counts. An image whose boxes cover no cell by half has no recall and
  is left out of that average only; its precision is 0 and counts. With these rules "the whole image is diseased" has an
  F1 of 14.6% on the release's 880 boxed images (14.9% in pixels).

Beyond the paper: mAP50 and mAP50-95 (matched by pycocotools), hit rates by IoU, IoBB and centre, false positives per
image. Boxes of the release are not exhaustive, so a false positive may be a finding nobody drew.
"""

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from cxr.boxes import FRAME, GRID, as_boxes, cell_coverage, iobb, iou, is_large, parse_box_text
from cxr.errors import InputError
from cxr.floors import MEDIAN_BOXES, DetectionFloors, fit_detection
from cxr.labels import BOXED_FINDINGS
from cxr.metrics import (
    Estimate,
    bootstrap_weights,
    check_same_images,
    chunks,
    first_names,
    mean_of_defined,
    metric_row,
    metric_table,
    ratio,
    running_sums,
    weighted_ratios,
)

PREDICTION_COLUMNS = ["image", "label", "confidence", "x0", "y0", "x1", "y1"]
SUBSETS = ("all", "large_both", "large_either", "large_area")
OVERLAPS = (0.1, 0.25, 0.5)
HITS = (*(f"iou_hit_{level}" for level in OVERLAPS), *(f"iobb_hit_{level}" for level in OVERLAPS), "centre_hit")
FALSE_BELOW = 0.1  # a predicted box is a false positive where its IoU with every truth box is below this
COCO_OVERLAPS = np.linspace(0.5, 0.95, 10)
COCO_RECALLS = np.linspace(0.0, 1.0, 101)
CANDIDATES = 200  # thresholds tried by best_threshold


@dataclass(frozen=True)
class ImageBoxes:
    """Boxes of one image: labels (K,) str, confidence (K,) float64 (1 for truth), boxes (K, 4) in the 1024 frame."""

    labels: np.ndarray
    confidence: np.ndarray
    boxes: np.ndarray

    def above(self, threshold: float) -> "ImageBoxes":
        kept = self.confidence >= threshold
        return ImageBoxes(self.labels[kept], self.confidence[kept], self.boxes[kept])


@dataclass(frozen=True)
class AreaScores:
    """precision and recall of each image, (N,) float64: precision 0 without prediction, recall NaN without target."""

    precision: np.ndarray
    recall: np.ndarray
    empty: np.ndarray  # (N,) bool: nothing predicted

    @staticmethod
    def of(shared: np.ndarray, predicted: np.ndarray, target: np.ndarray) -> "AreaScores":
        """From the areas |y∩ŷ|, |ŷ| and |y| of each image, (N,) each."""
        shared, predicted = np.asarray(shared, np.float64), np.asarray(predicted, np.float64)
        return AreaScores(np.nan_to_num(ratio(shared, predicted)), ratio(shared, target), predicted == 0)


def truth_boxes(truth: pd.DataFrame) -> list[ImageBoxes]:
    """Read the box text of a split of boxed images, one entry an image in the order of the table."""
    parsed = [parse_box_text(text) for text in truth["boxes"].fillna("")]  # pandas reads an empty text as NaN
    return [
        ImageBoxes(
            np.array([box[0] for box in boxes], dtype=object), np.ones(len(boxes)), as_boxes([box[1:] for box in boxes])
        )
        for boxes in parsed
    ]


def predicted_boxes(predictions: pd.DataFrame, images: pd.Series, who: str) -> list[ImageBoxes]:
    """Sort predicted boxes by image, one entry an image in the order of `images`; boxes are clipped to the frame.

    Raises InputError where a column is missing, a box is of an image not asked for, or a number is none.
    """
    missing = [column for column in PREDICTION_COLUMNS if column not in predictions]
    if missing:
        raise InputError(f"{who}: column '{missing[0]}' is missing; predict again")
    foreign = predictions["image"][~predictions["image"].isin(images)].drop_duplicates()
    if len(foreign):
        raise InputError(
            f"{who}: {len(foreign)} images are not in the split (first: {first_names(foreign)}); predictions and split "
            "are of different runs: predict again"
        )
    numbers = predictions[PREDICTION_COLUMNS[2:]].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    wrong = ~np.isfinite(numbers).all(axis=1) | (numbers[:, 0] < 0) | (numbers[:, 0] > 1)
    if wrong.any():
        raise InputError(
            f"{who}: {wrong.sum()} boxes have a coordinate that is no number, or a confidence outside 0 to 1 "
            f"(first: {first_names(predictions['image'][wrong])}); the training diverged, or the file was altered"
        )
    labels, corners = predictions["label"].to_numpy(object), np.clip(numbers[:, 1:], 0, FRAME)
    rows = predictions.groupby("image").indices
    nothing = np.empty(0, dtype=np.intp)
    return [
        ImageBoxes(labels[at], numbers[at, 0], corners[at]) for at in (rows.get(image, nothing) for image in images)
    ]


def aligned_cells(cells: tuple[np.ndarray, np.ndarray], images: pd.Series, who: str) -> np.ndarray:
    """Bring the confidences of cells into the order of `images`: (N, 16, 16) float64.

    cells: (images (N,), confidence (N, 16, 16)). Raises InputError where the images differ or a value lies
    outside [0, 1].
    """
    names, confidence = pd.Series(cells[0]), np.asarray(cells[1], dtype=np.float64)
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

    boxes: (K, 4); confidence: (K,). Returns (16, 16) float64; 0 for a cell that all boxes together do not cover by
    half. Cutting the result at a threshold is the same as covering cells with the boxes above that threshold.
    """
    lines = np.arange(GRID + 1) * (FRAME / GRID)
    x, y, painted = _paint(boxes, confidence, lines, lines)
    columns = np.searchsorted(lines, x[:-1], side="right") - 1
    rows = np.searchsorted(lines, y[:-1], side="right") - 1
    at = painted > 0
    cell = np.add.outer(rows * GRID, columns)[at]
    area, value = np.outer(np.diff(y), np.diff(x))[at], painted[at]
    order = np.lexsort((-value, cell))
    cell, value, covered = cell[order], value[order], np.cumsum(area[order])
    start = np.flatnonzero(np.append(True, cell[1:] != cell[:-1])) if len(cell) else np.empty(0, dtype=np.intp)
    before = np.append(0.0, covered)[start]
    covered -= np.repeat(before, np.diff(np.append(start, len(cell))))
    cells = np.zeros(GRID * GRID)
    half = (FRAME / GRID) ** 2 / 2
    enough = covered > half * (1 + 1e-7)  # a cell covered by exactly half is none; sums are rounded
    np.maximum.at(cells, cell[enough], value[enough])
    return cells.reshape(GRID, GRID)


def best_threshold(
    truth: pd.DataFrame,
    *,
    boxes: pd.DataFrame | None = None,
    cells: tuple[np.ndarray, np.ndarray] | None = None,
) -> float:
    """Find the confidence threshold with the best binarised F1 in cells, on validation predictions.

    truth: a split of boxed images; boxes or cells: predictions as for ``detection_table``. At most 200 thresholds are
    tried: confidences that occur, evenly over their ranks. Of equally good ones the highest is taken, and 1 where no
    threshold predicts anything right.
    """
    confidence = _model_cells(truth, boxes, cells, "validation predictions")
    target = _cell_targets(truth_boxes(truth))
    occurring = np.unique(confidence[confidence > 0])
    ranks = np.linspace(0, len(occurring) - 1, min(CANDIDATES, len(occurring))).round().astype(int)
    candidates = np.append(occurring[ranks], 1.0)[::-1]
    scores = [_plain_f1(_cell_scores(target, _binarise(confidence, threshold))) for threshold in candidates]
    return float(candidates[np.argmax(np.nan_to_num(scores))])


def detection_table(
    protocol: str,
    experiment: str,
    *,
    boxes: pd.DataFrame | None,
    cells: tuple[np.ndarray, np.ndarray] | None,
    truth: pd.DataFrame,
    train: pd.DataFrame,
    threshold: float,
    samples: int,
    confidence: float,
    seed: int,
) -> pd.DataFrame:
    """Score a detector's saved predictions beside the floors fitted on its training split.

    Either boxes (columns image, label, confidence, x0, y0, x1, y1 in the 1024 frame; images without box have no row) or
    cells (images (N,), confidence (N, 16, 16) in [0, 1], row = y). truth, train: splits of boxed images (image,
    patient, boxes). threshold: lowest confidence that counts in binarised scores, hits and false positives. samples,
    confidence, seed: the bootstrap by patient. Returns the metric table:

    - precision, recall, f1 (binarised), the same ``_weighted``, and all six ``_pixels``. label: "all"; "large_both",
      "large_either", "large_area": on the images that have such a box (``boxes.is_large``), with only these as target.
      The floor is the image-free map with the best F1 there; the note gives the F1 of the others.
    - mse (cells only), label "all": squared distance of confidence and target, mean over cells and images.
    - images_with_prediction, label "all": share of images with any prediction at the threshold; it has no floor.
    - boxes only, label "all" or a finding: map50, map50_95; iou_hit_*, iobb_hit_*: share of truth boxes that a
      predicted box of the same finding overlaps by at least so much; centre_hit: that hold the centre of one;
      false_positives_per_image: predicted boxes with an IoU below 0.1 with every truth box of their finding. The same
      names ending in ``_any`` (label "all") disregard the finding. Where predictions name no finding at all (a network
      off the shelf), only those are defined. The floor is the median training box of each finding.

    Raises InputError where predictions and truth do not fit together.
    """
    who = f"predictions of {experiment} ({protocol})"
    if not len(truth):
        raise InputError(f"{who}: the split to score on holds no image; enlarge it")
    floors = fit_detection(train)
    drawn = truth_boxes(truth)
    weights = bootstrap_weights(truth["patient"].to_numpy(), samples, seed)
    cell_map = _model_cells(truth, boxes, cells, who)
    predicted = None if boxes is None else predicted_boxes(boxes, truth["image"], who)
    rows = _area_rows(cell_map, predicted, drawn, floors, threshold, weights, confidence)
    if predicted is None:
        rows += _mse_rows(cell_map, drawn, floors, weights, confidence)
        answered = _binarise(cell_map, threshold).any(axis=(1, 2))
    else:
        rows += _box_rows(predicted, drawn, floors, threshold, weights, confidence)
        answered = np.array([len(image.above(threshold).labels) > 0 for image in predicted])
    share = weighted_ratios(answered[:, None], np.ones((len(truth), 1)), weights)[0]
    rows.append(
        metric_row(
            "images_with_prediction",
            "all",
            share,
            None,
            "",
            confidence=confidence,
            higher_is_better=True,
            support=len(truth),
        )
    )
    return metric_table(protocol, experiment, rows)


# Areas


def area_scores(predicted: list[ImageBoxes], target: list[np.ndarray], threshold: float | None) -> AreaScores:
    """Score boxes by exact areas ("in pixels"). target: for each image (K, 4) boxes.

    threshold: boxes of at least this confidence count as 1; None: areas are weighted by the highest confidence there.
    """
    areas = np.array(
        [_box_areas(image, boxes, threshold) for image, boxes in zip(predicted, target, strict=True)]
    ).reshape(-1, 3)
    return AreaScores.of(*areas.T)


def _box_areas(image: ImageBoxes, target: np.ndarray, threshold: float | None) -> tuple[float, float, float]:
    kept = image if threshold is None else image.above(threshold)
    confidence = kept.confidence if threshold is None else np.ones(len(kept.labels))
    target = np.clip(as_boxes(target), 0, FRAME)
    x, y, painted = _paint(kept.boxes, confidence, target[:, [0, 2]].ravel(), target[:, [1, 3]].ravel())
    inside = np.zeros(painted.shape, dtype=bool)
    for left, top, right, bottom in _places(target, x, y):
        inside[top:bottom, left:right] = True
    height, width = np.diff(y), np.diff(x)
    return height @ (painted * inside) @ width, height @ painted @ width, height @ inside @ width


def _paint(
    boxes: np.ndarray, confidence: np.ndarray, x_lines: np.ndarray, y_lines: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut the frame at all box edges and lines; give each piece the highest confidence of the boxes on it, else 0."""
    boxes = np.clip(as_boxes(boxes), 0, FRAME)
    x = np.unique(np.concatenate([[0.0, FRAME], boxes[:, 0], boxes[:, 2], x_lines]))
    y = np.unique(np.concatenate([[0.0, FRAME], boxes[:, 1], boxes[:, 3], y_lines]))
    painted = np.zeros((len(y) - 1, len(x) - 1))
    order = np.argsort(confidence, kind="stable")
    for value, (left, top, right, bottom) in zip(confidence[order], _places(boxes[order], x, y), strict=True):
        painted[top:bottom, left:right] = value
    return x, y, painted


def _places(boxes: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    columns, rows = np.searchsorted(x, boxes[:, [0, 2]]), np.searchsorted(y, boxes[:, [1, 3]])
    return np.stack([columns[:, 0], rows[:, 0], columns[:, 1], rows[:, 1]], axis=1)


def _cell_scores(target: np.ndarray, predicted: np.ndarray) -> AreaScores:
    """target: (N, 16, 16) share of each cell (0 and 1 for scores in cells); predicted: (N, 16, 16) or (16, 16)."""
    predicted = np.broadcast_to(predicted, target.shape)
    total = (1, 2)
    return AreaScores.of((target * predicted).sum(axis=total), predicted.sum(axis=total), target.sum(axis=total))


def _cell_targets(drawn: list[ImageBoxes]) -> np.ndarray:
    return (_coverages([image.boxes for image in drawn]) > 0.5).astype(np.float64)


def _coverages(boxes: list[np.ndarray]) -> np.ndarray:
    return np.array([cell_coverage(image) for image in boxes], dtype=np.float64).reshape(-1, GRID, GRID)


def _binarise(confidence: np.ndarray, threshold: float) -> np.ndarray:
    return ((confidence >= threshold) & (confidence > 0)).astype(np.float64)


def _model_cells(
    truth: pd.DataFrame, boxes: pd.DataFrame | None, cells: tuple[np.ndarray, np.ndarray] | None, who: str
) -> np.ndarray:
    if (boxes is None) == (cells is None):
        raise ValueError("give either boxes or cells")
    if cells is not None:
        return aligned_cells(cells, truth["image"], who)
    predicted = predicted_boxes(boxes, truth["image"], who)
    return np.array([cell_confidence(image.boxes, image.confidence) for image in predicted]).reshape(-1, GRID, GRID)


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


def _area_estimates(
    scores: AreaScores, counted: np.ndarray, weights: np.ndarray
) -> tuple[Estimate, Estimate, Estimate]:
    """Precision, recall and F1 over the counted images, with their bootstrap samples."""
    answerable = counted & np.isfinite(scores.recall)
    numerator = np.stack([np.where(counted, scores.precision, 0), np.where(answerable, scores.recall, 0)], axis=1)
    precision, recall = weighted_ratios(numerator, np.stack([counted, answerable], axis=1), weights)
    f1 = Estimate(float(_f1(precision.value, recall.value)), _f1(precision.samples, recall.samples))
    return precision, recall, f1


def _area_rows(
    cell_map: np.ndarray,
    predicted: list[ImageBoxes] | None,
    drawn: list[ImageBoxes],
    floors: DetectionFloors,
    threshold: float,
    weights: np.ndarray,
    confidence: float,
) -> list[dict[str, object]]:
    rows = []
    for subset, target in _targets(drawn):
        counted = np.array([subset == "all" or len(boxes) > 0 for boxes in target], dtype=bool)
        shares = _coverages(target)
        for unit, cell_target in (("", (shares > 0.5).astype(np.float64)), ("_pixels", shares)):
            for mode in ("", "_weighted"):
                if unit and predicted is not None:
                    model = area_scores(predicted, target, None if mode else threshold)
                else:
                    model = _cell_scores(cell_target, cell_map if mode else _binarise(cell_map, threshold))
                constants = {name: _cell_scores(cell_target, constant) for name, constant in floors.maps.items()}
                rows += _family(mode + unit, subset, model, constants, counted, weights, confidence)
    return rows


def _targets(drawn: list[ImageBoxes]) -> Iterator[tuple[str, list[np.ndarray]]]:
    yield "all", [image.boxes for image in drawn]
    for subset in SUBSETS[1:]:
        sense = subset.removeprefix("large_")
        yield subset, [image.boxes[is_large(image.boxes)[sense]] for image in drawn]


def _family(
    suffix: str,
    subset: str,
    model: AreaScores,
    constants: dict[str, AreaScores],
    counted: np.ndarray,
    weights: np.ndarray,
    confidence: float,
) -> list[dict[str, object]]:
    """Rows of precision, recall and F1 of one kind, beside those of the constant map with the best F1."""
    scores = _area_estimates(model, counted, weights)
    floors = {name: _area_estimates(constant, counted, weights) for name, constant in constants.items()}
    best = max(floors, key=lambda name: np.nan_to_num(floors[name][2].value, nan=-1))
    answerable = counted & np.isfinite(model.recall)
    notes = [f"{int((model.empty & counted).sum())} of {int(counted.sum())} images have no prediction (precision 0)"]
    if left_out := int((counted & ~answerable).sum()):
        notes.append(f"{left_out} images without a target area have precision 0 and no recall")
    others = [f"{name} {floors[name][2].value:.4f}" for name in floors if name != best]
    notes.append("F1 of the other floors: " + ", ".join(others))
    supports = (counted.sum(), answerable.sum(), counted.sum())
    return [
        metric_row(
            name + suffix,
            subset,
            score,
            floor,
            best,
            confidence=confidence,
            higher_is_better=True,
            support=int(support),
            note="; ".join(notes),
        )
        for name, score, floor, support in zip(
            ("precision", "recall", "f1"), scores, floors[best], supports, strict=True
        )
    ]


def _mse_rows(
    cell_map: np.ndarray, drawn: list[ImageBoxes], floors: DetectionFloors, weights: np.ndarray, confidence: float
) -> list[dict[str, object]]:
    target = _cell_targets(drawn)
    names = list(floors.maps)
    errors = [((target - confidences) ** 2).mean(axis=(1, 2)) for confidences in (cell_map, *floors.maps.values())]
    estimates = weighted_ratios(np.stack(errors, axis=1), np.ones((len(target), len(errors))), weights)
    best = int(np.argmin([estimate.value for estimate in estimates[1:]]))
    return [
        metric_row(
            "mse",
            "all",
            estimates[0],
            estimates[1 + best],
            names[best],
            confidence=confidence,
            higher_is_better=False,
            support=len(target),
        )
    ]


# Boxes


def _box_rows(
    predicted: list[ImageBoxes],
    drawn: list[ImageBoxes],
    floors: DetectionFloors,
    threshold: float,
    weights: np.ndarray,
    confidence: float,
) -> list[dict[str, object]]:
    median = ImageBoxes(
        floors.boxes["label"].to_numpy(object),
        floors.boxes["confidence"].to_numpy(np.float64),
        floors.boxes[["x0", "y0", "x1", "y1"]].to_numpy(np.float64),
    )
    constant = [median] * len(drawn)
    named = {label for image in predicted for label in image.labels}
    foreign = bool(named) and not named & set(BOXED_FINDINGS)
    note = "undefined: the predicted classes are no findings" if foreign else ""
    model = {**_precision_estimates(predicted, drawn, weights), **_hit_estimates(predicted, drawn, threshold, weights)}
    floor = {**_precision_estimates(constant, drawn, weights), **_hit_estimates(constant, drawn, 0.0, weights)}
    nothing = Estimate(np.nan, np.full(len(weights), np.nan))
    rows = []
    for (metric, label), score in model.items():
        undefined = foreign and not metric.endswith("_any")
        boxes = sum(int(len(image.labels) if label == "all" else (image.labels == label).sum()) for image in drawn)
        reasons = [note if undefined else "", "" if boxes or metric.startswith("false") else "no such box in the split"]
        rows.append(
            metric_row(
                metric,
                label,
                nothing if undefined else score,
                floor[metric, label],
                MEDIAN_BOXES,
                confidence=confidence,
                higher_is_better=not metric.startswith("false"),
                support=len(drawn) if metric.startswith("false") else boxes,
                note="; ".join(filter(None, reasons)),
            )
        )
    return rows


def _hit_estimates(
    predicted: list[ImageBoxes], drawn: list[ImageBoxes], threshold: float, weights: np.ndarray
) -> dict[tuple[str, str], Estimate]:
    """Hit rates and false positives, by metric and label; per image counts first, so that a resample is a weighting."""
    findings = len(BOXED_FINDINGS)
    hits, hits_any = np.zeros((len(HITS), len(drawn), findings)), np.zeros((len(HITS), len(drawn)))
    false, false_any = np.zeros((len(drawn), findings)), np.zeros(len(drawn))
    counts = np.stack([[(image.labels == finding).sum() for finding in BOXED_FINDINGS] for image in drawn])
    for index, (image, truth) in enumerate(zip(predicted, drawn, strict=True)):
        kept = image.above(threshold)
        if not len(kept.labels):
            continue
        overlap = iou(kept.boxes, truth.boxes)
        touches = _touches(kept.boxes, truth.boxes, overlap)
        same = kept.labels[:, None] == truth.labels[None]
        hits_any[:, index] = touches.any(axis=1).sum(axis=1)
        false_any[index] = (overlap < FALSE_BELOW).all(axis=1).sum()
        wrong = ((overlap < FALSE_BELOW) | ~same).all(axis=1)
        hit = (touches & same).any(axis=1)
        for column, finding in enumerate(BOXED_FINDINGS):
            hits[:, index, column] = hit[:, truth.labels == finding].sum(axis=1)
            false[index, column] = wrong[kept.labels == finding].sum()
    boxes, ones = counts.sum(axis=1), np.ones(len(drawn))
    columns = {}
    for name, hit, hit_any in zip(HITS, hits, hits_any, strict=True):
        columns[name, "all"] = hit.sum(axis=1), boxes
        columns |= {(name, finding): (hit[:, at], counts[:, at]) for at, finding in enumerate(BOXED_FINDINGS)}
        columns[f"{name}_any", "all"] = hit_any, boxes
    columns["false_positives_per_image", "all"] = false.sum(axis=1), ones
    for at, finding in enumerate(BOXED_FINDINGS):
        columns["false_positives_per_image", finding] = false[:, at], ones
    columns["false_positives_per_image_any", "all"] = false_any, ones
    numerators, denominators = (np.stack(part, axis=1) for part in zip(*columns.values(), strict=True))
    return dict(zip(columns, weighted_ratios(numerators, denominators, weights), strict=True))


def _touches(predicted: np.ndarray, truth: np.ndarray, overlap: np.ndarray) -> np.ndarray:
    """(len(HITS), P, T) bool: does predicted box p hit truth box t in this sense."""
    inside = iobb(predicted, truth)
    centres = (predicted[:, None, :2] + predicted[:, None, 2:]) / 2
    centred = ((truth[None, :, :2] <= centres) & (centres < truth[None, :, 2:])).all(axis=2)
    return np.stack([*(overlap >= level for level in OVERLAPS), *(inside >= level for level in OVERLAPS), centred])


@dataclass(frozen=True)
class Matches:
    """Detections of one class, in falling confidence, as COCOeval matched them to truth boxes.

    confidence, image: (D,); right: (10, D) bool at the ten IoU thresholds; truth: (N,) number of truth boxes an image.
    """

    confidence: np.ndarray
    image: np.ndarray
    right: np.ndarray
    truth: np.ndarray


def match(predicted: list[ImageBoxes], drawn: list[ImageBoxes], classes: tuple[str, ...] | None) -> list[Matches]:
    """Match detections to truth with pycocotools (area all, at most 100 detections an image and class).

    classes: one result for each of these labels; None: one result for all boxes, whatever their labels.
    """
    number = {label: at + 1 for at, label in enumerate(classes or ())}
    truth = _coco(drawn, number, classes is None)
    found = _coco(predicted, number, classes is None)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.params.maxDets = [100]
        evaluation.params.iouThrs = COCO_OVERLAPS
        evaluation.evaluate()
    images = len(drawn)
    return [
        _gather(evaluation.evalImgs[at * images : (at + 1) * images]) for at in range(len(evaluation.params.catIds))
    ]


def _coco(images: list[ImageBoxes], number: dict[str, int], any_class: bool) -> COCO:
    annotations = []
    for at, image in enumerate(images):
        for label, confidence, (x0, y0, x1, y1) in zip(image.labels, image.confidence, image.boxes, strict=True):
            if not any_class and label not in number:
                continue
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": at,
                    "category_id": 1 if any_class else number[label],
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": (x1 - x0) * (y1 - y0),
                    "iscrowd": 0,
                    "score": confidence,
                }
            )
    categories = [1] if any_class else list(number.values())
    coco = COCO()
    coco.dataset = {
        "images": [{"id": at} for at in range(len(images))],
        "annotations": annotations,
        "categories": [{"id": category} for category in categories],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def _gather(results: list[dict | None]) -> Matches:
    """Join COCOeval's results of the images of one class; an image without truth and detection has none."""
    found = [(at, result) for at, result in enumerate(results) if result is not None and len(result["dtScores"])]
    truth = np.array([0 if result is None else len(result["gtIds"]) for result in results])
    if not found:
        return Matches(np.empty(0), np.empty(0, np.intp), np.empty((len(COCO_OVERLAPS), 0), bool), truth)
    confidence = np.concatenate([result["dtScores"] for _, result in found])
    image = np.concatenate([np.full(len(result["dtScores"]), at) for at, result in found])
    right = np.concatenate([result["dtMatches"] > 0 for _, result in found], axis=1)
    order = np.argsort(-confidence, kind="stable")
    return Matches(confidence[order], image[order], right[:, order], truth)


def average_precision(matches: Matches, weights: np.ndarray) -> np.ndarray:
    """COCO's average precision (101 recalls) at each IoU threshold, for many sets of image weights at once.

    weights: (B, N) integers. Returns (B, 10) float64; NaN where a set of weights holds no truth box. As
    COCOeval.accumulate on images repeated that often, but detections of equal confidence enter together: the score of a
    constant predictor must not depend on the order of the images.
    """
    confidence = matches.confidence
    last_of_tie = np.append(confidence[1:] != confidence[:-1], True) if len(confidence) else np.empty(0, bool)
    ends = np.flatnonzero(last_of_tie) + 1
    parts = []
    for part in chunks(weights):
        boxes = part.astype(np.float64) @ matches.truth
        result = np.zeros((len(part), len(COCO_OVERLAPS)))
        drawn = part[:, matches.image]
        every = running_sums(drawn, np.int64)
        for at, right in enumerate(matches.right):
            before = np.append(0, np.cumsum(right))
            useful = ends[np.diff(np.append(0, before[ends])) > 0]  # between them precision only falls
            if len(useful):
                hits = running_sums(drawn[:, right], np.int64)[:, before[useful]]
                result[:, at] = _area_under(hits, every[:, useful], boxes)
        parts.append(np.where(boxes[:, None] > 0, result, np.nan))
    return np.concatenate(parts)


def _area_under(hits: np.ndarray, every: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Mean over the 101 recalls of the best precision at that recall or beyond; hits, every: (B, G), boxes: (B,)."""
    recall = hits / np.maximum(boxes, 1)[:, None]
    precision = np.nan_to_num(ratio(hits, every))
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    best = np.append(best, np.zeros((len(best), 1)), axis=1)
    rows = np.arange(len(best))
    return np.mean([best[rows, (recall < level).sum(axis=1)] for level in COCO_RECALLS], axis=0)


def _precision_estimates(
    predicted: list[ImageBoxes], drawn: list[ImageBoxes], weights: np.ndarray
) -> dict[tuple[str, str], Estimate]:
    once = np.ones((1, len(drawn)), dtype=np.uint16)

    def both(matches: Matches) -> tuple[np.ndarray, np.ndarray]:
        return average_precision(matches, once), average_precision(matches, weights)

    classes = [both(matches) for matches in match(predicted, drawn, BOXED_FINDINGS)]
    regardless = both(match(predicted, drawn, None)[0])
    estimates = {}
    for name, levels in (("map50", slice(0, 1)), ("map50_95", slice(None))):
        single = [_averaged(value, resampled, levels) for value, resampled in classes]
        estimates[name, "all"] = mean_of_defined(single)
        estimates |= {(name, finding): estimate for finding, estimate in zip(BOXED_FINDINGS, single, strict=True)}
        estimates[f"{name}_any", "all"] = _averaged(*regardless, levels)
    return estimates


def _averaged(value: np.ndarray, resampled: np.ndarray, levels: slice) -> Estimate:
    return Estimate(float(value[0, levels].mean()), resampled[:, levels].mean(axis=1))
