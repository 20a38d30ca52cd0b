"""Targets of the grid CNN: boxes as cells."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd

from cxr import boxes as geometry
from cxr.detectors.gridcnn.network import MAPS
from cxr.labels import BOXED_FINDINGS, SEPARATOR

Drawn = Sequence[tuple[str, np.ndarray]]  # an image's findings → their boxes (K, 4)


def training_targets(boxes: Sequence[np.ndarray], kind: str) -> np.ndarray:
    """Return targets (N, 16, 16) float32 of images with boxes (K, 4).

    kind: "majority": ``boxes.cell_targets``; "coverage": the share of each cell that the boxes cover.
    """
    if kind == "majority":
        return geometry.cell_targets(boxes).astype(np.float32)
    return np.stack([geometry.cell_coverage(each) for each in boxes])


def finding_targets(boxes: Sequence[Drawn], named: Sequence[Collection[str]], kind: str) -> np.ndarray:
    """Return targets (N, 9, 16, 16) float32: a map for each of ``BOXED_FINDINGS``, and one of all boxes.

    boxes: for each image, finding → boxes (K, 4). named: for each image, findings that it has but that nobody boxed; their
    maps are NaN unless the image has a box of the finding. kind: as for ``training_targets``.
    """
    targets = np.zeros((len(boxes), MAPS, geometry.GRID, geometry.GRID), np.float32)
    for target, drawn, unknown in zip(targets, boxes, named, strict=True):
        target[[at for at, finding in enumerate(BOXED_FINDINGS) if finding in unknown]] = np.nan
        for finding, coordinates in drawn:
            target[BOXED_FINDINGS.index(finding)] = training_targets([coordinates], kind)[0]
        target[-1] = training_targets([together(drawn)], kind)[0]
    return targets


def unboxed(named: Mapping[str, str], table: pd.DataFrame) -> list[set[str]]:
    """Return for each image of a box split the findings that its labels name but no box shows.

    named: image → its labels in the label table, ``"Effusion|Mass"``; table: the split (image, labels: of its boxes).
    """
    pairs = zip(table["image"], table["labels"], strict=True)
    return [set(named[image].split(SEPARATOR)) - set(labels.split(SEPARATOR)) for image, labels in pairs]


def by_finding(text: str) -> Drawn:
    """Return the boxes of a split file's text (``boxes.format_box_text``) by finding."""
    boxes: dict[str, list[tuple[float, ...]]] = {}
    for finding, *corners in geometry.parse_box_text(text):
        boxes.setdefault(finding, []).append(tuple(corners))
    return [(finding, geometry.as_boxes(each)) for finding, each in boxes.items()]


def together(drawn: Drawn) -> np.ndarray:
    return np.concatenate([boxes for _, boxes in drawn] or [geometry.as_boxes([])])
