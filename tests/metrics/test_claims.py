"""Differences that the paper claims, from predictions made by hand: which images, which measure, which floor."""

import numpy as np
import pandas as pd
import pytest

from cxr.data import box_list, split_files
from cxr.errors import InputError
from cxr.labels import LABELS, NO_FINDING, to_matrix
from cxr.metrics import claims, tested
from cxr.metrics.bootstrap import Resampling
from cxr.metrics.constants import fit_classification
from cxr.metrics.detections import Cells
from cxr.metrics.floors import MEAN_MASK, fit_detection
from cxr.metrics.image_free import guess_constant
from cxr.metrics.ladder import CONSTANT, Ladder
from cxr.metrics.pooling import Fold, Pooled, Thresholds
from cxr.settings import DEFAULTS

QUICK = Resampling(samples=100, confidence=0.95, seed=0)
TRAIN = ["No Finding"] * 6 + ["Mass"] * 4


def at(label):
    return LABELS.index(label)


def classifier(name, labels, probabilities, first=0):
    """A classifier on one image a patient, with the constants of `TRAIN` below it."""
    images = [f"{first + number:08d}_000.png" for number in range(len(labels))]
    truth = pd.DataFrame(
        {"image": images, "patient": range(first, first + len(labels)), "labels": labels, "digest": "d"}
    )
    constant = guess_constant(fit_classification(to_matrix(TRAIN)), len(labels))
    ladder = Ladder(
        tuple(images), {CONSTANT: constant}, {CONSTANT: CONSTANT}, pd.DataFrame(columns=["metric", "label", CONSTANT])
    )
    return tested.Tested(name, np.asarray(probabilities, float), truth, ladder)


def saying(label, count, certainty=0.9):
    """Probabilities of so many images that name one label."""
    table = np.full((count, len(LABELS)), 0.01)
    table[:, at(label)] = certainty
    return table


def by(rows):
    return pd.DataFrame([*rows], columns=claims.CLAIM_COLUMNS).set_index(["subject", "measure"]).sort_index()


LABELLED = ["No Finding"] * 30 + ["Mass"] * 10


@pytest.fixture(scope="module")
def both():
    softmax = classifier("baseline_softmax", LABELLED, saying("Mass", 40, 0.4))  # right first label for 10 of 40
    sigmoid = classifier(
        "baseline_sigmoid", LABELLED, saying(NO_FINDING, 40)
    )  # says No Finding, 20 of 600 decisions wrong
    return by(claims.both_ways(softmax, sigmoid, QUICK))


def test_each_baseline_is_scored_both_ways(both):
    value = both["value"]
    assert value["baseline_softmax", "categorical accuracy"] == pytest.approx(0.25)
    assert value["baseline_sigmoid", "categorical accuracy"] == pytest.approx(0.75)
    assert value["baseline_softmax", "binary accuracy"] == pytest.approx(1 - 40 / 600)  # nothing above 0.5
    assert value["baseline_sigmoid", "binary accuracy"] == pytest.approx(1 - 20 / 600)
    shares = 0.9 / (0.9 + 14 * 0.01), 0.01 / (0.9 + 14 * 0.01)
    loss = -(30 * np.log(shares[0]) + 10 * np.log(shares[1])) / 40
    assert value["baseline_sigmoid", "categorical loss"] == pytest.approx(loss)
    assert value["baseline_sigmoid", "binary loss"] == pytest.approx(
        -(30 * (np.log(0.9) + 14 * np.log(0.99)) + 10 * (np.log(0.1) + np.log(0.01) + 13 * np.log(0.99))) / 600
    )


def test_the_difference_is_the_sigmoids_minus_the_softmaxs(both):
    change = both.loc[claims.SWITCHED]
    assert change.loc["binary accuracy", "value"] == pytest.approx(20 / 600)
    assert change.loc["categorical accuracy", "value"] == pytest.approx(0.5)
    assert change.loc[["binary accuracy", "categorical accuracy"], "floor"].isna().all()
    assert (change["images"] == 40).all() and (change["patients"] == 40).all()


def test_as_printed_the_floor_jumps_as_the_numbers_do(both):
    printed = both.loc[(claims.SWITCHED, "accuracy as printed")]
    assert printed["value"] == pytest.approx(1 - 20 / 600 - 0.25)
    assert printed["floor"] == pytest.approx(1 - 20 / 600 - 0.75)  # always No Finding, by both measures
    assert printed["difference"] == pytest.approx(0.5) and printed["p_floor"] < 0.05
    assert both.loc[("baseline_softmax", "categorical accuracy"), "floor"] == pytest.approx(0.75)


def test_a_majority_classifier_leads_by_exactly_nothing_and_finds_no_finding_alone():
    pair = classifier("transfer_c2_s40", [*LABELLED, "Effusion|Mass"], saying(NO_FINDING, 41))
    found = by(claims.of_transfer(pair, QUICK))
    leads = found.loc["transfer_c2_s40 - majority"]
    assert (leads[["value", "low", "high"]] == 0).all(axis=None) and (leads["p"] == 1).all()
    assert set(leads.index) == {"binary accuracy", "categorical accuracy", "No Finding accuracy"}
    none = found.loc[("transfer_c2_s40", "No Finding found")]
    assert none[["value", "floor", "images"]].tolist() == [1, 1, 30]
    ill = found.loc[("transfer_c2_s40", "findings found")]
    assert ill[["value", "floor", "images", "patients"]].tolist() == [0, 0, 11, 11]


def test_findings_are_counted_label_by_label():
    said = saying("Mass", 12)
    pair = classifier("transfer_c2_s40", ["Effusion|Mass"] * 10 + ["Nodule", "No Finding"], said)
    found = by(claims.of_transfer(pair, QUICK))
    assert found.loc[("transfer_c2_s40", "findings found"), "value"] == pytest.approx(10 / 21)


def test_baseline_and_pair_are_compared_on_the_images_that_both_tested():
    pair = classifier("transfer_c2_s40", LABELLED[20:], saying(NO_FINDING, 20), first=20)
    everything = saying("Mass", 60)
    everything[20:30] = saying(NO_FINDING, 10)  # the pair's images: the baseline is right on all of them
    baseline = classifier("baseline_sigmoid", [*LABELLED, *["Nodule"] * 20], everything)
    found = by(claims.against_baseline(baseline, pair, QUICK))
    accuracy = found.loc[("baseline_sigmoid - transfer_c2_s40", "binary accuracy")]
    assert (accuracy["images"], accuracy["value"]) == (20, pytest.approx(20 / 300))  # ten masses, two decisions each
    assert accuracy["floor"] == 0
    auroc = found.loc[("baseline_sigmoid - transfer_c2_s40", "AUROC")]
    assert auroc[["value", "floor"]].tolist() == [0.5, 0]
    elsewhere = classifier("transfer_c2_s40", LABELLED, saying(NO_FINDING, 40), first=1000)
    assert not [*claims.against_baseline(baseline, elsewhere, QUICK)]


def test_floors_of_other_images_are_refused(tmp_path):
    one, other = (classifier("x", LABELLED, saying(NO_FINDING, 40), first) for first in (0, 1))
    one.truth.to_csv(tmp_path / "test.csv", index=False)
    other.ladder.save(tmp_path / "floors.npz")
    with pytest.raises(InputError, match="x: the floors are of other images"):
        tested.Tested.read("x", tmp_path / "none.csv", tmp_path / "test.csv", tmp_path / "floors.npz")


SMALL, LARGE = "Mass 0.000 0.000 128.000 128.000", "Mass 0.000 0.000 512.000 512.000"  # 4 and 64 cells


def folds(maps, boxes):
    truth = pd.DataFrame({"image": [f"{n:08d}_000.png" for n in range(len(boxes))], "patient": range(len(boxes))})
    truth = truth.assign(boxes=boxes)
    cells = Cells(truth["image"].to_numpy(), np.asarray(maps, float))
    return Pooled.of([Fold(truth, truth, Thresholds(0.5), cells=cells)], "x", 0)


def test_the_mean_mask_gains_on_large_boxes_what_it_gains():
    boxes = [SMALL, LARGE] * 10
    mask = fit_detection(pd.DataFrame({"boxes": boxes})).maps[MEAN_MASK]
    found = by(claims.of_large_boxes(folds([mask] * 20, boxes), QUICK)).loc["gridcnn"]
    assert (found["difference"] == 0).all() and (found["floor"] > 0.04).all()
    assert found[["images", "patients"]].drop_duplicates().to_numpy().tolist() == [[10, 10]]
    assert list(found.index) == [f"f1_weighted, {name} - all" for name in ("large_area", "large_both", "large_either")]


def test_a_gain_on_large_boxes_is_their_f1_minus_that_of_all():
    boxes = [SMALL, LARGE] * 10
    marked = np.zeros((16, 16))
    marked[:8, :8] = 0.5  # confidence a half on the large box's cells
    found = by(claims.of_large_boxes(folds([marked] * 20, boxes), QUICK)).loc["gridcnn"]
    precision, recall = (4 / 64 + 1) / 2, 0.5
    assert found["value"].iloc[0] == pytest.approx(2 * 1 * 0.5 / 1.5 - 2 * precision * recall / (precision + recall))


def test_on_the_release_the_mean_mask_gains_twice_what_the_paper_prints_for_larger_areas(nih_sample):
    """The numbers of docs/paper.md: 0.187 on all test images, 0.309 on those with a large box."""
    table = pd.read_csv(
        nih_sample / "Data_Entry_2017_v2020.csv", usecols=["Image Index", "Finding Labels", "Patient ID"]
    )
    records = table.set_axis(["image", "labels", "patient"], axis=1).assign(digest="d")
    boxes, _ = box_list.read_box_table(nih_sample / "BBox_List_2017.csv", None)
    (roles,) = split_files.of_boxes(boxes, records, DEFAULTS.paper.split, seed=0)
    cells = Cells(roles["test"]["image"].to_numpy(), np.full((129, 16, 16), 0.5))
    pooled = Pooled.of([Fold(roles["test"], roles["train"], Thresholds(0.5), cells=cells)], "x", 0)
    row = by(claims.of_large_boxes(pooled, QUICK)).loc[("gridcnn", "f1_weighted, large_both - all")]
    assert row["floor"] == pytest.approx(0.309 - 0.187, abs=0.001) and row["floor_low"] > 0.09
    assert (row["images"], row["patients"]) == (27, 27)


def test_two_detectors_are_compared_in_the_order_of_their_names():
    boxes = [LARGE] * 12
    right, wrong = np.zeros((16, 16)), np.zeros((16, 16))
    right[:8, :8], wrong[8:, 8:] = 0.9, 0.9
    row = claims.of_two_detectors(folds([right] * 12, boxes), folds([wrong] * 12, boxes), ("a", "b"), QUICK)
    assert (row["subject"], row["value"], row["images"]) == ("a - b", 1, 12) and row["p"] < 0.05
