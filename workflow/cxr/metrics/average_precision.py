"""COCO's average precision of boxes, for many sets of image weights at once. pycocotools does the matching."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from cxr.labels import BOXED_FINDINGS
from cxr.metrics.bootstrap import Estimate, chunks, mean_of, ratio, running_sums
from cxr.metrics.image_boxes import ImageBoxes

COCO_OVERLAPS = np.linspace(0.5, 0.95, 10)
COCO_RECALLS = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True)
class Matches:
    """Detections of one class, in falling confidence, as COCOeval matched them to truth boxes.

    confidence, image: (D,); right: (10, D) bool at the ten IoU thresholds; truth: (N,) number of truth boxes per image.
    """

    confidence: np.ndarray
    image: np.ndarray
    right: np.ndarray
    truth: np.ndarray


def match(predicted: list[ImageBoxes], drawn: list[ImageBoxes], classes: tuple[str, ...] | None) -> list[Matches]:
    """Match detections to truth with pycocotools (area all, at most 100 detections per image and class).

    classes: labels, one result each; None: one result for all boxes, regardless of label.
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
    """Join COCOeval's results over the images of one class; an image with neither truth nor detections has none."""
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

    weights: (B, N) integers. Returns (B, 10) float64; NaN where a set of weights holds no truth box.
    Equals COCOeval.accumulate on images repeated that often, except that detections of equal confidence enter together:
    the score of a constant predictor must not depend on the order of the images.
    """
    confidence = matches.confidence
    last_of_tie = np.append(confidence[1:] != confidence[:-1], True) if len(confidence) else np.empty(0, bool)
    ends = np.flatnonzero(last_of_tie) + 1
    parts = []
    for part in chunks(weights):
        boxes = part.astype(np.float64) @ matches.truth
        result = np.zeros((len(part), len(COCO_OVERLAPS)))
        drawn = part[:, matches.image]
        every = running_sums(drawn, np.int32)
        for at, right in enumerate(matches.right):
            before = np.append(0, np.cumsum(right))
            useful = ends[np.diff(np.append(0, before[ends])) > 0]  # between them precision only falls
            if len(useful):
                hits = running_sums(drawn[:, right], np.int32)[:, before[useful]]
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


def mean_precision(predicted: list[ImageBoxes], drawn: list[ImageBoxes], overlap: float) -> float:
    """Mean average precision over the findings that have truth boxes; 0 if none has. overlap: one of `COCO_OVERLAPS`."""
    at = int(np.flatnonzero(np.isclose(COCO_OVERLAPS, overlap))[0])
    once = np.ones((1, len(drawn)), dtype=np.uint16)
    each = np.array([average_precision(matches, once)[0, at] for matches in match(predicted, drawn, BOXED_FINDINGS)])
    return float(each[np.isfinite(each)].mean()) if np.isfinite(each).any() else 0.0


def precision_estimates(
    predicted: list[ImageBoxes], drawn: list[ImageBoxes], weights: np.ndarray, counted: Sequence[bool] | None = None
) -> dict[tuple[str, str], Estimate]:
    """mAP50 and mAP50-95 with their bootstrap samples, by metric and label ("all", a finding; ``_any``: any class).

    counted: of each finding, whether the mean is over it too (`bootstrap.mean_of`).
    """
    once = np.ones((1, len(drawn)), dtype=np.uint16)

    def both(matches: Matches) -> tuple[np.ndarray, np.ndarray]:
        return average_precision(matches, once), average_precision(matches, weights)

    classes = [both(matches) for matches in match(predicted, drawn, BOXED_FINDINGS)]
    regardless = both(match(predicted, drawn, None)[0])
    estimates = {}
    for name, levels in (("map50", slice(0, 1)), ("map50_95", slice(None))):
        single = [_averaged(value, resampled, levels) for value, resampled in classes]
        estimates[name, "all"] = mean_of(single, counted)
        estimates |= {(name, finding): estimate for finding, estimate in zip(BOXED_FINDINGS, single, strict=True)}
        estimates[f"{name}_any", "all"] = _averaged(*regardless, levels)
    return estimates


def _averaged(value: np.ndarray, resampled: np.ndarray, levels: slice) -> Estimate:
    return Estimate(float(value[0, levels].mean()), resampled[:, levels].mean(axis=1))
