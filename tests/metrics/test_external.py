"""Another data set: each label on the images of which it is known, beside the study's floor and one fitted there."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from cxr.labels import FINDINGS, LABELS
from cxr.metrics import external

COUNT = 400
BOOTSTRAP = {"samples": 50, "confidence": 0.9, "seed": 0}


def made(count: int, seed: int, first: int) -> pd.DataFrame:
    """Cases of two images a patient: Mass goes by the sex, Effusion by nothing, and Edema is not told."""
    draw = np.random.default_rng(seed)
    patients = first - np.arange(count) // 2
    female = patients % 2 == 0
    cases = pd.DataFrame({"image": [f"{-first}_{at}.png" for at in range(count)], "patient": patients})
    cases = cases.assign(follow_up=np.nan, age=50.0, sex=np.where(female, "F", "M"), view="")
    cases[list(LABELS)] = np.nan
    cases["Mass"] = (draw.random(count) < np.where(female, 0.5, 0.1)).astype(float)
    cases["Effusion"] = (draw.random(count) < 0.3).astype(float)
    return cases


def training(count: int) -> pd.DataFrame:
    """The study's training images: Mass by the sex and by the follow-up number, which the other data set does not tell."""
    cases = made(count, 3, 10_000)
    labels = np.where(cases["Mass"] == 1, "Mass", "No Finding")
    known = cases[["image", "patient", "age", "sex"]].assign(view="PA", follow_up=1.0 * (cases["Mass"] == 1))
    return known.assign(labels=labels)


@pytest.fixture(scope="module")
def cases() -> pd.DataFrame:
    found = made(COUNT, 1, -1)
    found.loc[:99, "Effusion"] = np.nan
    return found


@pytest.fixture(scope="module")
def scored(cases):
    draw = np.random.default_rng(2)
    said = np.clip(draw.normal(0.3, 0.1, (COUNT, 15)), 0.01, 0.99)
    said[:, FINDINGS.index("Effusion")] += 0.2 * np.nan_to_num(cases["Effusion"])
    ladders = {
        "study": external.study_ladder(training(600), cases, ["age", "sex"], 0),
        "own": external.refitted_ladder(cases, 0),
    }
    return said, ladders, *external.tables("sound", cases, said, ladders, **BOOTSTRAP)


def cell(table: pd.DataFrame, experiment: str, metric: str, label: str) -> pd.Series:
    keys = {"experiment": experiment, "metric": metric, "label": label}
    found = table[np.all([table[name] == value for name, value in keys.items()], axis=0)]
    assert len(found) == 1
    return found.iloc[0]


def test_a_label_is_scored_on_the_images_of_which_it_is_known_and_the_others_are_counted(cases, scored):
    said, _, metrics, _ = scored
    known = cases["Effusion"].notna()
    truth, own = cases["Effusion"][known], said[known, FINDINGS.index("Effusion")]
    row = cell(metrics, "study", "auroc", "Effusion")
    assert row["value"] == pytest.approx(roc_auc_score(truth, own)) and row["support"] == truth.sum()
    assert row["note"] == f"{int((truth == 0).sum())} images without the label; 100 left out: not known"
    assert cell(metrics, "own", "loss", "Effusion")["value"] == pytest.approx(log_loss(truth, own))
    assert cell(metrics, "own", "accuracy", "Effusion")["support"] == 300
    assert set(metrics["label"]) == {"Mass", "Effusion", "mean14"}, "of what is not told there is no number"


def test_the_mean_is_over_the_told_findings(scored):
    _, _, metrics, _ = scored
    mean = cell(metrics, "study", "auroc", "mean14")
    each = [cell(metrics, "study", "auroc", label) for label in ("Mass", "Effusion")]
    assert mean["value"] == pytest.approx(np.mean([row["value"] for row in each]))
    assert mean["floor"] == pytest.approx(np.mean([row["floor"] for row in each])) and mean["support"] == 2


def test_the_floor_of_the_study_uses_only_what_the_other_data_set_tells(cases, scored):
    _, _, metrics, _ = scored
    row = cell(metrics, "study", "auroc", "Mass")
    assert row["floor_name"].startswith("metadata")
    assert row["floor"] == pytest.approx(roc_auc_score(cases["Mass"], cases["sex"] == "F"))
    nothing = external.study_ladder(training(600), cases.assign(sex=""), [], 0)
    assert nothing.floor("auroc", "Mass") == "constant", "without metadata the floors are constants"


def test_the_refitted_floor_is_fitted_on_other_patients(cases, scored):
    _, ladders, metrics, _ = scored
    row = cell(metrics, "own", "auroc", "Mass")
    assert row["floor_name"].startswith("metadata") and 0.6 < row["floor"] < 0.8
    swapped = cases.assign(Mass=cases["Mass"].where(cases["patient"] != cases["patient"].iloc[0], 1 - cases["Mass"]))
    other, name = external.refitted_ladder(swapped, 0), row["floor_name"]
    mine = (cases["patient"] == cases["patient"].iloc[0]).to_numpy()
    before, after = (
        ladder.guesses[name].probabilities[:, FINDINGS.index("Mass")] for ladder in (ladders["own"], other)
    )
    np.testing.assert_array_equal(before[mine], after[mine])
    assert (before[~mine] != after[~mine]).any()
    constant = external.OWN_SHARE
    share = ladders["own"].guesses[constant].probabilities[:, FINDINGS.index("Effusion")]
    assert share == pytest.approx((cases["Effusion"].sum() + 0.5) / 301)


def test_calibration_is_of_each_finding_and_the_pooled_row_of_the_images_that_tell_all(scored):
    _, _, _, validity = scored
    calibration = validity[(validity["part"] == "calibration") & (validity["experiment"] == "own")]
    brier = calibration[calibration["metric"] == "brier"].set_index("label")
    assert brier.loc["Mass", "images"] == COUNT and brier.loc["Effusion", "images"] == 300
    assert brier.loc["mean14", "images"] == 300 and brier.loc["mean14", "cases"] == 600
    bins = validity[
        (validity["part"] == "bins") & (validity["metric"] == "observed") & (validity["experiment"] == "own")
    ]
    assert bins["cases"].sum() == 600
    sexes = validity[(validity["comparison"] == "sex") & (validity["experiment"] == "study")]
    assert sexes["group"].tolist() == ["M", "F", "gap"] and sexes["images"].tolist()[2] == 300
