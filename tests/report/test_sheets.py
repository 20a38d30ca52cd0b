"""Failures first: which true boxes are the worst misses, and which predictions the most confident false positives."""

import numpy as np
import pandas as pd

from cxr.metrics.detections import Answers, Cells
from cxr.metrics.image_boxes import ImageBoxes
from cxr.report import sheets

TRUTH = ["Mass 0 0 128 128;Nodule 512 512 560 560", "Mass 0 0 256 256", "Effusion 600 600 900 900"]


def of_run(boxes=None, cells=None, threshold=0.25):
    names = [f"{number:08d}_000.png" for number in range(len(TRUTH))]
    table = pd.DataFrame({"image": names, "boxes": TRUTH, "threshold": threshold})
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
        (2, "Effusion missed"),
        (0, "Nodule missed"),
        (1, "Mass found at 0.40"),
    ]
    strict = sheets._Tested(found.table.assign(threshold=0.5), found.answers)
    assert sheets._misses(strict)[2] == (1, "Mass missed (highest 0.40)")
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


def boxes(count, corners=(800, 800, 900, 900)):
    """Boxes of falling confidence, 0.90, 0.89, …, all at one place."""
    confidence = 0.9 - np.arange(count) / 100
    return ImageBoxes(np.array(["Mass"] * count, object), confidence, np.array([corners] * count, float).reshape(-1, 4))


def test_an_image_with_many_boxes_shows_the_most_confident_and_says_how_many_are_left_out():
    shown, note = sheets.few_boxes(boxes(73), np.array([[0, 0, 100, 100]]))
    assert shown.confidence.tolist() == boxes(5).confidence.tolist()
    assert note == "68 more at 0.18–0.85, not drawn"
    shown, note = sheets.few_boxes(boxes(6), np.empty((0, 4)))
    assert len(shown.labels) == 5 and note == "1 more at 0.85, not drawn"
    assert (
        sheets.few_boxes(boxes(5), np.empty((0, 4)))[1] == sheets.few_boxes(boxes(0), np.array([[0, 0, 9, 9]]))[1] == ""
    )


def test_the_box_that_finds_a_true_box_is_drawn_however_weak():
    guess = boxes(9)
    guess.boxes[7] = guess.boxes[8] = (0, 0, 100, 90)  # the eighth finds it, and so does a weaker one
    shown, note = sheets.few_boxes(guess, np.array([[0, 0, 100, 100]]))
    assert shown.confidence.tolist() == [*boxes(5).confidence, guess.confidence[7]]
    assert note == "3 more at 0.82–0.85, not drawn"


def test_cells_are_explained_with_an_image_that_has_a_target():
    targets = np.zeros((5, 16, 16), bool)
    targets[[1, 3, 4], 2, 2] = True
    assert sheets.example_of(targets, [0, 2, 4]) == 4, "the first of those shown that has one"
    assert sheets.example_of(targets, [0, 2]) == 1, "or else of all"
    assert sheets.example_of(np.zeros((5, 16, 16), bool), [2, 4]) == 2


def test_a_weak_confidence_is_not_written_as_none():
    assert [sheets.xrays.certainty(value) for value in (0, 0.0012, 0.0096, 0.254)] == ["0.00", "0.001", "0.01", "0.25"]
    assert sheets._how_found(0.0012, 0.001) == "found at 0.001"
