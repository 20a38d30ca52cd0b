"""Image-free predictors of boxes and cells, the floors of detection: fitted on training boxes, without looking at an image.

They are one map of confidences, or a set of boxes, the same for every image; only a box at a random place differs from
image to image. The constants of labels are in `constants`. This module scores nothing; see detection.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxr.boxes import CORNERS, FRAME, GRID, cell_targets, iou, is_large, parse_box_text
from cxr.data.splits import place
from cxr.errors import InputError
from cxr.labels import BOXED_FINDINGS
from cxr.metrics.constants import BOX_COLUMNS, median_boxes
from cxr.metrics.froc import OVERLAP

WHOLE_IMAGE = "whole image"
MEAN_MASK = "mean training mask"
CUT_MASK = "mean training mask, cut"
RANDOM_BOXES = "box of each finding's median size at a random place"
COVERING_BOXES = "training boxes of each finding that cover the most others"
COVERING_ANY = "training boxes of any finding that cover the most others"
LARGE_MASK = "mean training mask of large boxes"
LARGE_CUT = "mean training mask of large boxes, cut"
FINDING_MASK = "mean training mask of the finding"
FINDING_CUT = "mean training mask of the finding, cut"
FINDING_BOX = "median training box of the finding"
MOST_COVERING = 16  # boxes per finding, and of any finding: as many false positives per image as the FROC is drawn to


@dataclass(frozen=True)
class DetectionFloors:
    """Predictions fitted on the training boxes, the same for every image.

    maps: name -> (16, 16) float64 confidences of cells: ``WHOLE_IMAGE`` (1 everywhere), ``MEAN_MASK`` (share of
    training images with the cell more than half covered) and ``CUT_MASK`` (1 where that share is at least `cut`).
    cut: the share at which the cut mask has the best F1 on the training images (``fit_cut``).
    boxes: label, confidence, x0, y0, x1, y1: for each boxed finding the median training box, with the share of training
    images that have such a box as confidence (``MEDIAN_BOXES``).
    covering: label, confidence, corners: for each boxed finding the training boxes that, one after the other, overlap the most
    training boxes of it not yet overlapped (IoU of at least 0.1, which the FROC asks for); confidence: how many these are per
    training image (``COVERING_BOXES``). covering_any: the same over the boxes of all findings (``COVERING_ANY``).
    large: "both", "either", "area" (``boxes.is_large``) -> ``LARGE_MASK``, ``LARGE_CUT``, fitted on the large training boxes;
    a sense without one is left out.
    findings: finding -> maps given that it is present: ``FINDING_MASK`` (mean over the training images with such a
    box), ``FINDING_CUT`` (cut where it has the best F1 on them) and ``FINDING_BOX`` (cells the median box covers). A
    finding without a training box that covers a cell is left out.
    """

    maps: dict[str, np.ndarray]
    cut: float
    boxes: pd.DataFrame
    covering: pd.DataFrame
    covering_any: pd.DataFrame
    large: dict[str, dict[str, np.ndarray]]
    findings: dict[str, dict[str, np.ndarray]]

    def of_finding(self, finding: str) -> dict[str, np.ndarray]:
        """The maps of a finding; those of any finding where training has no example of it."""
        known = self.findings.get(finding)
        if known is None:
            cut = self.maps[CUT_MASK]
            known = {FINDING_MASK: self.maps[MEAN_MASK], FINDING_CUT: cut, FINDING_BOX: cut}
        return {name: self.maps[name] for name in (WHOLE_IMAGE, CUT_MASK)} | known

    def of_large(self, sense: str) -> dict[str, np.ndarray]:
        """All maps, with those of large boxes in one sense; where training has no such box, the maps of all boxes."""
        known = {LARGE_MASK: self.maps[MEAN_MASK], LARGE_CUT: self.maps[CUT_MASK]}
        return self.maps | self.large.get(sense, known)

    def random_boxes(self, image: str, seed: int) -> np.ndarray:
        """A box of each finding's median size, uniformly placed: (K, 4) in the order of `boxes`, the same for an image
        and seed on every call (``RANDOM_BOXES``).
        """
        corners = self.boxes[CORNERS].to_numpy(np.float64)
        size = corners[:, 2:] - corners[:, :2]
        at = [[place(seed, f"random box/{image}/{label}/{axis}") for axis in "xy"] for label in self.boxes["label"]]
        start = np.reshape(at, (-1, 2)) * (FRAME - size)
        return np.hstack([start, start + size])


def fit_detection(train: pd.DataFrame) -> DetectionFloors:
    """Fit the floors of detection on a training split of the boxed images (columns image, boxes: the box text).

    Raises InputError where no cell of any training image is more than half covered.
    """
    parsed = [parse_box_text(text) for text in train["boxes"].fillna("")]  # pandas reads an empty text as NaN
    targets = cell_targets([[box[1:] for box in boxes] for boxes in parsed])
    if not targets.any():
        raise InputError(
            f"the training split of the boxed images ({len(train)} images) has no box that covers a cell of the "
            f"{GRID}x{GRID} grid by more than half, so no image-free floor can be fitted; enlarge it"
        )
    cut = fit_cut(targets)
    mean, boxes = targets.mean(axis=0), median_boxes(parsed)
    return DetectionFloors(
        maps={WHOLE_IMAGE: np.ones((GRID, GRID)), MEAN_MASK: mean, CUT_MASK: (mean >= cut).astype(np.float64)},
        cut=cut,
        boxes=boxes,
        covering=pd.concat([_covering(parsed, finding) for finding in BOXED_FINDINGS], ignore_index=True),
        covering_any=_covering(parsed, None),
        large=_large_maps(parsed),
        findings=_finding_maps(parsed, boxes),
    )


def _finding_maps(
    parsed: Sequence[Sequence[tuple[str, float, float, float, float]]], median: pd.DataFrame
) -> dict[str, dict[str, np.ndarray]]:
    maps = {}
    for finding, _, *corners in median.itertuples(index=False, name=None):
        images = [[box[1:] for box in boxes if box[0] == finding] for boxes in parsed]
        targets = cell_targets([boxes for boxes in images if boxes])
        if targets.any():
            mean = targets.mean(axis=0)
            maps[finding] = {
                FINDING_MASK: mean,
                FINDING_CUT: (mean >= fit_cut(targets)).astype(np.float64),
                FINDING_BOX: cell_targets([[corners]])[0].astype(np.float64),
            }
    return maps


def _covering(parsed: Sequence[Sequence[tuple[str, float, float, float, float]]], finding: str | None) -> pd.DataFrame:
    """Choose training boxes of a finding (None: of any) greedily, by the number of boxes that they newly overlap."""
    candidates = [box for boxes in parsed for box in boxes if finding in (None, box[0])]
    corners = np.array([box[1:] for box in candidates]).reshape(-1, 4)
    overlaps = iou(corners, corners) >= OVERLAP
    left = np.ones(len(candidates), dtype=bool)
    rows = []
    while left.any() and len(rows) < MOST_COVERING:
        gains = overlaps[:, left].sum(axis=1)
        best = int(gains.argmax())
        rows.append((candidates[best][0], min(gains[best] / len(parsed), 1.0), *corners[best]))
        left &= ~overlaps[best]
    return pd.DataFrame(rows, columns=BOX_COLUMNS).astype(dict.fromkeys(BOX_COLUMNS[1:], np.float64))


def _large_maps(parsed: Sequence[Sequence[tuple[str, float, float, float, float]]]) -> dict[str, dict[str, np.ndarray]]:
    images = [np.array([box[1:] for box in boxes]).reshape(-1, 4) for boxes in parsed]
    found = {}
    for sense in is_large(np.empty((0, 4))):
        targets = cell_targets([large for boxes in images if len(large := boxes[is_large(boxes)[sense]])])
        if targets.any():
            mean = targets.mean(axis=0)
            found[sense] = {LARGE_MASK: mean, LARGE_CUT: (mean >= fit_cut(targets)).astype(np.float64)}
    return found


def fit_cut(targets: np.ndarray) -> float:
    """Find the share at which cutting the mean mask gives the best F1 on the images that it averages.

    targets: (N, 16, 16) bool, at least one cell set. F1 as in ``areas``: precision is averaged over all
    images, recall over those with a cell. For one mask m given to all images these averages are sums over the cells of
    m, so two cumulative sums score all cuts. Ties go to the highest cut.
    """
    targets = np.asarray(targets, dtype=np.float64).reshape(len(targets), -1)
    sizes = targets.sum(axis=1)
    mean = targets.mean(axis=0)
    recalled = (targets[sizes > 0] / sizes[sizes > 0, None]).mean(axis=0)
    order = np.argsort(-mean, kind="stable")
    precision = np.cumsum(mean[order]) / np.arange(1, mean.size + 1)
    recall = np.cumsum(recalled[order])
    last_of_ties = np.append(np.diff(mean[order]) != 0, True)
    f1 = np.where(last_of_ties, 2 * precision * recall / (precision + recall), -1)
    return float(mean[order][f1.argmax()])
