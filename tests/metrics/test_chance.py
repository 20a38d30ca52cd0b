"""What chance gives the best pair of a grid, against normal theory and the numbers of the real label table."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cxr.data import split_files
from cxr.labels import LABELS, to_matrix
from cxr.metrics import chance, constants
from cxr.settings import DEFAULTS


def pool(right, patients=None):
    """A pool in which all three accuracies are the same, of images given by whether they are right."""
    right = np.asarray(right, dtype=float)
    return chance.pool(range(len(right)) if patients is None else patients, np.stack([right] * 3, axis=1))


def grid(leads, size=40):
    table = pd.DataFrame({"layers": range(len(leads)), "size": size})
    for name in chance.ACCURACIES:
        table[name], table[f"majority_{name}"] = 0.5 + np.asarray(leads), 0.5
    return table


def test_the_best_of_many_pairs_leads_as_normal_theory_says():
    images, pairs = 400, 20
    found = chance.chance_table(grid([0.0] * pairs), {40: pool(np.arange(images) % 2)}, 0.95).iloc[0]
    error = np.sqrt(2 * 0.25 / images)  # of the difference of two shares of independent samples
    best_of_20 = stats.norm.ppf(np.random.default_rng(1).random((20_000, pairs))).max(axis=1)
    assert found["chance"] == pytest.approx(best_of_20.mean() * error, rel=0.03)
    assert found["high"] == pytest.approx(np.quantile(best_of_20, 0.975) * error, rel=0.06)
    assert (found["pairs"], found["validation_images"], found["validation_patients"]) == (20, 400, 400)


def test_patients_are_drawn_not_images():
    right = np.repeat(np.arange(50) % 2, 4)
    alone = chance.chance_table(grid([0.0]), {40: pool(right)}, 0.95)["high"].iloc[0]
    alike = chance.chance_table(grid([0.0]), {40: pool(right, np.repeat(np.arange(50), 4))}, 0.95).iloc[0]
    assert alike["high"] == pytest.approx(2 * alone, rel=0.15), "four images that are alike tell as much as one"
    assert (alike["validation_images"], alike["validation_patients"]) == (200, 50)


def test_the_best_lead_of_the_grid_and_of_each_size_is_named_with_its_pair_and_judged():
    table = pd.concat([grid([0.0, 0.02, 0.01], 40), grid([0.3, 0.0, 0.0], 60)])
    found = chance.chance_table(table, {40: pool([0, 1] * 50), 60: pool([0, 1] * 50)}, 0.95)
    accuracy = found[found["metric"] == "accuracy"].set_index("scope")
    assert list(accuracy.index) == ["grid", "40", "60"]
    assert accuracy["pairs"].tolist() == [6, 3, 3]
    assert accuracy[["layers", "size"]].to_numpy().tolist() == [[0, 60], [1, 40], [0, 60]]
    assert accuracy["best"].tolist() == pytest.approx([0.3, 0.02, 0.3])
    assert accuracy.loc["40", "p"] > 0.5 and accuracy.loc["grid", "p"] == pytest.approx(1 / 1001)
    assert (accuracy["chance"] < accuracy["high"]).all() and (accuracy["high"] < accuracy["highest"]).all()
    assert accuracy.loc["grid", "chance"] > accuracy.loc["40", "chance"], "the best of more pairs leads by more"


def test_a_majority_classifier_that_is_always_right_leads_by_nothing():
    found = chance.chance_table(grid([0.0, 0.0]), {40: pool([1] * 30)}, 0.95)
    assert (found[["chance", "high", "highest", "best"]] == 0).all(axis=None) and (found["p"] == 1).all()


def test_at_5000_images_the_best_of_20_depths_leads_by_too_little_for_the_papers_6_59_points(nih_sample):
    """The numbers of docs/paper.md: in accuracy over 15 labels, and in that of No Finding."""
    columns = ["Image Index", "Finding Labels", "Patient ID"]
    table = pd.read_csv(nih_sample / "Data_Entry_2017_v2020.csv", usecols=columns).set_axis(
        ["image", "labels", "patient"], axis=1
    )
    judged = split_files.of_size(table.assign(digest="d"), "5000", DEFAULTS.paper.split, 0, [])["validation"]
    targets = to_matrix(judged["labels"])
    constant = constants.fit_classification(to_matrix(table["labels"]))
    right = constant.majority == targets
    first = constant.first_label == targets.argmax(axis=1)
    found = chance.chance_table(
        grid([0.0] * 20, 5000),
        {
            5000: chance.pool(
                judged["patient"], np.stack([right.mean(axis=1), first, right[:, len(LABELS) - 1]], axis=1)
            )
        },
        0.95,
    ).set_index(["scope", "metric"])
    assert found.loc[("grid", "accuracy"), ["chance", "high"]].tolist() == pytest.approx([0.011, 0.018], abs=0.002)
    for metric in ("categorical_accuracy", "no_finding_accuracy"):
        assert found.loc[("grid", metric), ["chance", "high"]].tolist() == pytest.approx([0.058, 0.095], abs=0.006)
    assert right.mean() + 0.0659 == pytest.approx(0.987, abs=0.003), "what 6.59 points in that accuracy would come to"
