"""Failures first: which true boxes are the worst misses, and which predictions the most confident false positives."""

import numpy as np
import pandas as pd

from cxr.metrics.detections import Answers, Cells
from cxr.report import sheets

TRUTH = ["Mass 0 0 128 128;Nodule 512 512 560 560", "Mass 0 0 256 256", "Effusion 600 600 900 900"]


def of_run(boxes=None, cells=None):
    names = [f"{number:08d}_000.png" for number in range(len(TRUTH))]
    table = pd.DataFrame({"image": names, "boxes": TRUTH})
    return sheets._Tested(table, Answers.of(table["image"], boxes, cells and Cells(np.array(names), cells[0]), "p"))


def test_failures_of_boxes():
    rows = [
        (0, "Mass", 0.9, 0, 0, 128, 128),
        (0, "Mass", 0.7, 800, 800, 900, 900),  # false
        (1, "Nodule", 0.4, 0, 0, 250, 250),  # the place is right, if not the name
        (1, "Mass", 0.8, 700, 0, 800, 100),  # false, and the most confident
        (1, "Mass", 0.6, 700, 300, 800, 400),  # of the same image: shown once
    ]
    table = pd.DataFrame(rows, columns=["image", "label", "confidence", "x0", "y0", "x1", "y1"])
    found = of_run(boxes=table.assign(image=[f"{image:08d}_000.png" for image in table["image"]]))
    assert sheets._misses(found) == [
        (2, "Effusion found at 0.00"),
        (0, "Nodule found at 0.00"),
        (1, "Mass found at 0.40"),
    ]
    assert sheets._false_positives(found) == [(1, "false Mass at 0.80"), (0, "false Mass at 0.70")]


def test_failures_of_cells():
    confidence = np.zeros((3, 16, 16))
    confidence[0, 0, 0], confidence[0, 8, 8] = 0.5, 0.3  # both boxes of the first image, the second a small one
    confidence[1, 3, 3], confidence[1, 10, 10] = 0.2, 0.6  # inside the box, and far from it
    found = of_run(cells=(confidence,))
    assert [place for place, _ in sheets._misses(found)] == [2, 1, 0]
    assert sheets._misses(found)[2] == (0, "Nodule found at 0.30")
    assert sheets._false_positives(found)[0] == (1, "false cell at 0.60")
    confidence[2, 2, 2], confidence[2, 3, 3] = 0.6, 0.1  # as confident, but in more cells
    assert [place for place, _ in sheets._false_positives(of_run(cells=(confidence,)))][:2] == [2, 1]
