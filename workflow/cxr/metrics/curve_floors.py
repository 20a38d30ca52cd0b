"""The floors of learning curves: what image-free predictors, fitted on the training images, score on the validation images.

A training job writes them into its facts, so that the report draws a curve and its floor on the same images.
"""

from collections.abc import Iterable
from typing import Literal

import numpy as np
import pandas as pd

from cxr.boxes import as_boxes, parse_box_text
from cxr.labels import FINDINGS, to_matrix
from cxr.metrics.average_precision import mean_precision
from cxr.metrics.constants import fit_classification, median_boxes
from cxr.metrics.guesses import AMONG_FINDINGS, Guess, columns, guess_constant
from cxr.metrics.image_boxes import ImageBoxes
from cxr.metrics.ranking import mean_auroc

ENDINGS = {"": "", "mean14": "_findings", AMONG_FINDINGS: "_findings"}  # label of a score → ending of its curve's name


def findings_scores(probabilities: np.ndarray, targets: np.ndarray, activation: str) -> dict[str, float]:
    """Score probabilities (N, 15) over the 14 findings, without "No Finding": loss, accuracy and mean AUROC.

    targets: (N, 15) of 0 and 1. Loss and accuracy are those that have a verdict (`guesses.columns`): of a softmax, on the
    images with a finding. Names end in ``_findings``; undefined scores are NaN.
    """
    means = _means(Guess.of_model(np.asarray(probabilities, np.float64)), targets, activation)
    count = len(FINDINGS)
    found = {name: value for name, value in means.items() if name.endswith("_findings")}
    return found | {"auroc_findings": mean_auroc(probabilities[:, :count], targets[:, :count])}


def of_labels(training: np.ndarray, validation: np.ndarray, activation: str) -> dict[str, float]:
    """Score the best constant of each score (`constants.fit_classification`) on the validation images, by name of the curve.

    training, validation: labels, (N, 15) and (M, 15) of 0 and 1.
    """
    means = _means(guess_constant(fit_classification(training), len(validation)), validation, activation)
    return means | {"auroc": 0.5, "auroc_findings": 0.5}


def _means(guess: Guess, targets: np.ndarray, activation: str) -> dict[str, float]:
    """Loss and accuracy of a guess, over all labels and over the findings, by name of the curve."""
    found = {}
    for column in columns(guess, targets, activation):
        if column.metric in ("loss", "accuracy") and column.label in ENDINGS:
            total = column.denominator.sum()
            found[column.metric + ENDINGS[column.label]] = float(column.numerator.sum() / total) if total else np.nan
    return found


def of_boxes(training: pd.DataFrame, validation: pd.DataFrame) -> dict[str, float]:
    """Return the mAP at IoU 0.5 of each finding's median training box, the same on every image, as ``map50``.

    training, validation: splits of the boxed images (image, boxes).
    """
    known, drawn = ([parse_box_text(text) for text in split["boxes"]] for split in (training, validation))
    said = _image((label, corners, share) for label, share, *corners in median_boxes(known).to_numpy().tolist())
    truth = [_image((label, corners, 1.0) for label, *corners in boxes) for boxes in drawn]
    return {"map50": mean_precision([said] * len(truth), truth, 0.5)}


def _image(boxes: Iterable[tuple[str, list[float], float]]) -> ImageBoxes:
    """Return boxes (label, corners, confidence) as those of one image."""
    labels, corners, confidence = zip(*boxes, strict=True) if (boxes := list(boxes)) else ((), (), ())
    return ImageBoxes(np.array(labels, object), np.array(confidence, np.float64), as_boxes(corners))


def about(validation: pd.DataFrame, floors: dict[str, float], of: Literal["positives", "boxes"]) -> dict[str, object]:
    """Describe the validation images for a job's facts: how many images, patients and positives, and the curves' floors.

    validation: split (image, patient, and labels or boxes). of: what is counted as positive: pairs of an image and a finding
    that it has, or true boxes. An undefined floor is left out.
    """
    if of == "boxes":
        count = sum(len(parse_box_text(text)) for text in validation["boxes"])
    else:
        count = int(to_matrix(validation["labels"])[:, : len(FINDINGS)].sum())
    known = {name: round(value, 8) for name, value in floors.items() if np.isfinite(value)}
    return {"images": len(validation), "patients": validation["patient"].nunique(), of: count, "floors": known}
