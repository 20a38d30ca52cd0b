"""Constants fitted on training labels or boxes, the simplest image-free predictors: the same for every image.

Each score of labels has a constant that is best for it. Training jobs score constants on their validation images
(`curve_floors`), so a change here trains again; what only metric tables need is in `floors` and `image_free`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxr.boxes import CORNERS, FRAME
from cxr.errors import InputError
from cxr.labels import BOXED_FINDINGS, FINDINGS, LABELS, SEPARATOR

MEDIAN_BOXES = "median training box of each finding"
BOX_COLUMNS = ["label", "confidence", *CORNERS]


@dataclass(frozen=True)
class ClassificationFloors:
    """Constants fitted on the training labels, in the order of ``LABELS``.

    prevalence: (15,) float64, share of images with the label; the constant with the least binary cross-entropy.
    majority: (15,) uint8, 1 where more than half of the images have it; the constant with the best accuracy per label.
    prior: (15,) float64, prevalence scaled to sum 1; the constant with the least categorical cross-entropy.
    first_label: index of the most frequent first label; the constant with the best categorical accuracy.
    first_finding: the same among the findings, of the images with one; 0 where no image has one.
    label_set: (15,) uint8, the most frequent combination; the constant with the best exact-match accuracy.
    """

    prevalence: np.ndarray
    majority: np.ndarray
    prior: np.ndarray
    first_label: int
    first_finding: int
    label_set: np.ndarray

    @property
    def label_set_name(self) -> str:
        return SEPARATOR.join(label for label, present in zip(LABELS, self.label_set, strict=True) if present)


def fit_classification(labels: np.ndarray) -> ClassificationFloors:
    """Fit the constants on the training labels: (N, 15) of 0 and 1, each image with at least one label.

    Raises InputError where there is no image.
    """
    labels = np.asarray(labels, dtype=np.uint8)
    if not len(labels):
        raise InputError("the training split holds no image, so no image-free floor can be fitted; enlarge it")
    prevalence = labels.mean(axis=0)
    sets, counts = np.unique(labels, axis=0, return_counts=True)
    ill = labels[:, : len(FINDINGS)]
    return ClassificationFloors(
        prevalence=prevalence,
        majority=(prevalence > 0.5).astype(np.uint8),
        prior=prevalence / prevalence.sum(),
        first_label=int(np.bincount(labels.argmax(axis=1), minlength=len(LABELS)).argmax()),
        first_finding=int(np.bincount(ill[ill.any(axis=1)].argmax(axis=1), minlength=len(FINDINGS)).argmax()),
        label_set=sets[counts.argmax()],
    )


def median_boxes(parsed: Sequence[Sequence[tuple[str, float, float, float, float]]]) -> pd.DataFrame:
    """Return the median training box of each boxed finding (``BOX_COLUMNS``), confidence: share of images with such a box.

    parsed: for each training image its boxes (label, x0, y0, x1, y1) in the 1024 frame. A finding without a box is left out.
    """
    rows = []
    for finding in BOXED_FINDINGS:
        images = [[box[1:] for box in boxes if box[0] == finding] for boxes in parsed]
        found = [box for boxes in images for box in boxes]
        if found:
            confidence = sum(map(bool, images)) / len(parsed)
            rows.append((finding, confidence, *np.clip(np.median(found, axis=0), 0, FRAME)))
    return pd.DataFrame(rows, columns=BOX_COLUMNS)
