"""The floors of learning curves: constants of the training images, scored on the validation images, by hand."""

import numpy as np
import pandas as pd
import pytest

from cxr.labels import FINDINGS, LABELS
from cxr.metrics import curve_floors

COUNT = len(LABELS)


def labels(*images):
    """(N, 15) of images, each given by the indices of its labels."""
    return np.array([[int(at in image) for at in range(COUNT)] for image in images], dtype=np.uint8)


NONE = COUNT - 1  # "No Finding"
TRAINING = labels([NONE], [NONE], [NONE], [0])
VALIDATION = labels([NONE], [0, 1])


def entropy(*pairs):
    """Sum of -log p over pairs of (probability that was given to the right answer, how often)."""
    return -sum(count * np.log(share) for share, count in pairs)


def test_the_floor_of_a_sigmoid_is_the_prevalence_in_training_scored_on_validation_images():
    found = curve_floors.of_labels(TRAINING, VALIDATION, "sigmoid")
    tiny = 1e-7  # labels without a training image are given this
    first = entropy((0.75, 1), (0.75, 1), (1 - tiny, 13))  # no label 0, "No Finding"
    second = entropy((0.25, 1), (tiny, 1), (0.25, 1), (1 - tiny, 12))
    assert found["loss"] == pytest.approx((first + second) / (2 * COUNT))
    findings = entropy((0.75, 1), (1 - tiny, 13)) + entropy((0.25, 1), (tiny, 1), (1 - tiny, 12))
    assert found["loss_findings"] == pytest.approx(findings / (2 * len(FINDINGS)))
    assert found["accuracy"] == pytest.approx((15 + 12) / 30), "majority: No Finding alone"
    assert found["accuracy_findings"] == pytest.approx((14 + 12) / 28)
    assert found["auroc"] == found["auroc_findings"] == 0.5


def test_the_floor_of_a_softmax_is_the_prior_and_its_findings_are_judged_on_images_with_one():
    found = curve_floors.of_labels(TRAINING, VALIDATION, "softmax")
    assert found["loss"] == pytest.approx(entropy((0.75, 1), (0.25, 1), (1e-7, 1)) / 2)
    assert found["accuracy"] == 0.5, "always No Finding"
    assert found["loss_findings"] == pytest.approx(entropy((1 - 1e-7, 1), (1e-7, 1))), "of the second image alone"
    assert found["accuracy_findings"] == 1


def test_scores_over_the_findings_leave_no_finding_out():
    said = np.full((2, COUNT), 0.2)
    said[1, 0] = 0.9
    said[0, NONE] = said[1, NONE] = 0.9  # wrong of the second image
    found = curve_floors.findings_scores(said, VALIDATION.astype(float), "sigmoid")
    assert set(found) == {"loss_findings", "accuracy_findings", "auroc_findings"}
    assert found["accuracy_findings"] == pytest.approx(27 / 28)
    assert found["loss_findings"] == pytest.approx((entropy((0.8, 14 + 12), (0.9, 1), (0.2, 1))) / 28)
    assert found["auroc_findings"] == pytest.approx((1 + 0.5) / 2), "the two labels that an image has and one has not"


def test_a_score_without_images_is_undefined_and_has_no_floor():
    healthy = labels([NONE], [NONE])
    assert np.isnan(curve_floors.findings_scores(np.full((2, COUNT), 0.2), healthy, "softmax")["loss_findings"])
    table = pd.DataFrame({"image": ["a.png", "b.png"], "patient": [1, 1], "labels": "No Finding"})
    told = curve_floors.about(table, curve_floors.of_labels(TRAINING, healthy, "softmax"), "positives")
    assert "loss_findings" not in told["floors"] and "loss" in told["floors"]
    assert (told["images"], told["patients"], told["positives"]) == (2, 1, 0)


def test_the_sample_counts_pairs_of_image_and_finding_or_boxes():
    table = pd.DataFrame({"image": list("abc"), "patient": [1, 2, 2], "labels": ["Mass|Nodule", "No Finding", "Mass"]})
    assert curve_floors.about(table, {}, "positives") == {"images": 3, "patients": 2, "positives": 3, "floors": {}}
    boxes = table.assign(boxes=["Mass 0 0 9 9;Nodule 0 0 9 9", "", "Mass 0 0 9 9"])
    assert curve_floors.about(boxes, {}, "boxes") == {"images": 3, "patients": 2, "boxes": 3, "floors": {}}


def test_the_floor_of_boxes_is_fitted_on_training_and_scored_on_validation_images():
    left, right = "Mass 0 0 256 256", "Mass 512 512 900 900"
    training = pd.DataFrame({"image": list("abc"), "boxes": [left, left, right]})
    assert curve_floors.of_boxes(training, pd.DataFrame({"image": ["d"], "boxes": [left]})) == {"map50": 1.0}
    apart = pd.DataFrame({"image": ["d"], "boxes": ["Mass 300 0 500 200"]})
    assert curve_floors.of_boxes(training, apart) == {"map50": 0.0}
