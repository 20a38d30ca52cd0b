"""Hit rates by IoU, IoBB and centre, and false positives per image, at one threshold."""

import numpy as np

from cxr.boxes import iobb, iou
from cxr.labels import BOXED_FINDINGS
from cxr.metrics.bootstrap import Estimate, weighted_ratios
from cxr.metrics.image_boxes import ImageBoxes

OVERLAPS = (0.1, 0.25, 0.5)
HITS = (*(f"iou_hit_{level}" for level in OVERLAPS), *(f"iobb_hit_{level}" for level in OVERLAPS), "centre_hit")
FALSE_BELOW = 0.1  # a predicted box whose IoU with every truth box is below this is a false positive


def hit_estimates(
    predicted: list[ImageBoxes], drawn: list[ImageBoxes], weights: np.ndarray
) -> dict[tuple[str, str], Estimate]:
    """Hit rates and false positives of the predicted boxes, by metric and label ("all", a finding; ``_any``: any class).

    Counts per image first, so that a resample is a weighting.
    """
    findings = len(BOXED_FINDINGS)
    hits, hits_any = np.zeros((len(HITS), len(drawn), findings)), np.zeros((len(HITS), len(drawn)))
    false, false_any = np.zeros((len(drawn), findings)), np.zeros(len(drawn))
    counts = np.stack([[(image.labels == finding).sum() for finding in BOXED_FINDINGS] for image in drawn])
    for index, (image, truth) in enumerate(zip(predicted, drawn, strict=True)):
        if not len(image.labels):
            continue
        overlap = iou(image.boxes, truth.boxes)
        touches = _touches(image.boxes, truth.boxes, overlap)
        same = image.labels[:, None] == truth.labels[None]
        hits_any[:, index] = touches.any(axis=1).sum(axis=1)
        false_any[index] = (overlap < FALSE_BELOW).all(axis=1).sum()
        wrong = ((overlap < FALSE_BELOW) | ~same).all(axis=1)
        hit = (touches & same).any(axis=1)
        for column, finding in enumerate(BOXED_FINDINGS):
            hits[:, index, column] = hit[:, truth.labels == finding].sum(axis=1)
            false[index, column] = wrong[image.labels == finding].sum()
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
