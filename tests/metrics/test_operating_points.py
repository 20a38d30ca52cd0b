"""Operating points: thresholds from validation images alone, and what they are on test images."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_curve

from cxr.labels import FINDINGS, LABELS, NO_FINDING
from cxr.metrics import operating_points, validity
from cxr.metrics.bootstrap import Resampling, bootstrap_weights
from cxr.metrics.guesses import Guess
from cxr.metrics.ladder import CONSTANT, Ladder
from cxr.metrics.operating_points import HELD, RATES, SENSITIVITY, SPECIFICITY, Scores
from cxr.metrics.validity_rows import Said

COUNT = 300
BOOTSTRAP = Resampling(samples=60, confidence=0.9, seed=0)


def rates(truth: np.ndarray, scores: np.ndarray, threshold: float) -> dict[str, float]:
    called = scores >= threshold
    return {SENSITIVITY: called[truth == 1].mean(), SPECIFICITY: (~called[truth == 0]).mean()}


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("held", RATES)
def test_no_threshold_of_scikit_learns_curve_that_holds_one_rate_has_more_of_the_other(seed, held):
    draw = np.random.default_rng(seed)
    count, levels = int(draw.integers(5, 80)), int(draw.integers(2, 30))
    truth = np.append([0, 1], draw.integers(0, 2, count))
    scores = np.round(draw.random(len(truth)) * 0.6 + truth * 0.4 * draw.random(), 6) if seed % 2 else (
        draw.integers(0, levels, len(truth)) / levels
    )  # with and without ties  # fmt: skip
    other = next(rate for rate in RATES if rate != held)
    chosen = rates(truth, scores, operating_points.choose(truth, scores, held))
    assert chosen[held] >= HELD
    false, true, _ = roc_curve(truth, scores, drop_intermediate=False)
    curve = [dict(zip((SENSITIVITY, SPECIFICITY), pair, strict=True)) for pair in zip(true, 1 - false, strict=True)]
    holding = [each for each in curve if each[held] >= HELD]
    assert chosen[other] == pytest.approx(max(each[other] for each in holding), abs=1e-12)
    as_good = [each[held] for each in holding if each[other] >= chosen[other] - 1e-12]
    assert chosen[held] == pytest.approx(max(as_good), abs=1e-12), "of equals the one with more of the held rate"


def test_a_rate_of_exactly_nine_tenths_is_held():
    truth, scores = np.repeat([0, 1], 10), np.append(np.arange(10) / 10, np.full(10, 0.95))
    scores[-1] = 0.85  # below the highest negative
    assert operating_points.choose(truth, scores, SPECIFICITY) == 0.85
    assert operating_points.choose(truth, scores, SENSITIVITY) == 0.95


def test_a_predictor_that_no_threshold_serves_calls_nothing():
    truth, scores = np.array([0, 0, 1]), np.array([0.9, 0.1, 0.5])
    assert operating_points.choose(truth, scores, SPECIFICITY) == np.inf
    assert operating_points.choose(truth, scores, SENSITIVITY) == 0.5


def test_the_rates_of_test_images_and_of_their_resamples_by_hand():
    truth, said = np.array([1, 1, 0, 0, 0]), np.array([0.9, 0.4, 0.5, 0.2, 0.1])
    weights = np.array([[1, 1, 1, 1, 1], [2, 0, 1, 1, 1], [0, 0, 1, 2, 2]], np.uint16)
    found = operating_points.at_threshold(Scores(truth, said), 0.5, weights)
    assert found[SENSITIVITY].value == 0.5 and found[SPECIFICITY].value == pytest.approx(2 / 3)
    np.testing.assert_allclose(found[SENSITIVITY].samples, [0.5, 1, np.nan])
    np.testing.assert_allclose(found[SPECIFICITY].samples, [2 / 3, 2 / 3, 4 / 5])


def test_what_says_the_same_of_all_images_calls_at_random():
    same, weights = Scores(np.arange(20) % 2, np.full(20, 0.3)), bootstrap_weights(np.arange(20), 7, 0)
    threshold, found = operating_points.point(same, same, SPECIFICITY, weights)
    assert np.isnan(threshold) and found[SPECIFICITY].value == 0.9 and found[SENSITIVITY].value == 0.1
    assert found[SENSITIVITY].samples.tolist() == [0.1] * 7


# The table


def role(seed: int, first: int) -> tuple[Said, pd.DataFrame]:
    """300 images of 150 patients. Mass goes by the model and by the sex, Hernia has 4 patients, Edema 4 in test alone."""
    draw = np.random.default_rng(seed)
    patients = first + np.arange(COUNT) // 2
    images = [f"{first + at:08d}_000.png" for at in range(COUNT)]
    female = patients % 2 == 1
    has = {"Mass": draw.random(COUNT) < 0.2 + 0.3 * female, "Hernia": np.arange(COUNT) < 8}
    has["Edema"] = np.arange(COUNT) < (8 if first else 100)
    labels = ["|".join(sorted(name for name in has if has[name][at])) or NO_FINDING for at in range(COUNT)]
    truth = pd.DataFrame({"image": images, "patient": patients, "labels": labels})
    said = np.clip(draw.normal(0.3, 0.05, (COUNT, 15)), 0.01, 0.99)
    said[:, FINDINGS.index("Mass")] += 0.1 * has["Mass"]
    constant, sexed = np.full((COUNT, 15), 0.2), 0.2 + np.tile(0.1 * female[:, None], 15)
    scores = pd.DataFrame([["auroc", "Mass", 0.5, 0.6]], columns=["metric", "label", CONSTANT, "sexed"])
    guesses = {CONSTANT: Guess.of_model(constant), "sexed": Guess.of_model(sexed)}
    ladder = Ladder(tuple(images), guesses, {CONSTANT: CONSTANT, "sexed": "metadata"}, scores)
    predictions = pd.DataFrame(said, columns=list(LABELS)).assign(image=images)
    metadata = truth[["image", "patient"]].assign(follow_up=0.0, age=50.0, sex=np.where(female, "F", "M"), view="PA")
    return Said(predictions, truth, ladder), metadata


def points(test: Said, validation: Said, metadata: pd.DataFrame) -> pd.DataFrame:
    table = validity.validity_table("sound", "x", test, validation, metadata, resampling=BOOTSTRAP)
    return table[table["part"] == "operating"].set_index(["label", "comparison", "metric"]).sort_index()


@pytest.fixture(scope="module")
def found() -> pd.DataFrame:
    (test, metadata), (validation, _) = role(1, 1000), role(2, 0)
    return points(test, validation, metadata)


def test_a_point_is_that_of_the_threshold_of_the_validation_images(found):
    (test, _), (validation, _) = role(1, 1000), role(2, 0)
    truths = [each.truth["labels"].str.contains("Mass").to_numpy().astype(int) for each in (validation, test)]
    says = [each.predictions["Mass"].to_numpy() for each in (validation, test)]
    rows = found.loc["Mass", "specificity 0.90"]
    threshold = operating_points.choose(truths[0], says[0], SPECIFICITY)
    assert rows.loc["threshold", "value"] == threshold
    expected = rates(truths[1], says[1], threshold)
    for rate in RATES:
        row = rows.loc[rate]
        assert row["value"] == pytest.approx(expected[rate])
        assert row["low"] <= row["value"] <= row["high"] and row["low"] < row["high"]
        assert row["difference"] == pytest.approx(row["value"] - row["floor"])
        assert (row["images"], row["patients"], row["positives"]) == (COUNT, COUNT // 2, truths[1].sum())
    assert rows.loc["threshold", "positives"] == truths[0].sum(), "where the threshold comes from"


def test_the_floor_is_the_candidate_with_the_best_auroc_of_the_finding_and_has_its_own_threshold(found):
    rows = found.loc["Mass", "sensitivity 0.90"]
    assert (rows["floor_name"] == "sexed").all()
    assert rows.loc["threshold", "floor"] == pytest.approx(0.2), "only all images hold a sensitivity of 0.90"
    assert rows.loc["sensitivity", "floor"] == 1 and rows.loc["specificity", "floor"] == 0
    assert found.loc["Mass", "specificity 0.90"].loc["threshold", "floor"] == np.inf


def test_thresholds_do_not_depend_on_test_labels(found):
    (test, metadata), (validation, _) = role(1, 1000), role(2, 0)
    shuffled = test.truth.assign(labels=test.truth["labels"].to_numpy()[::-1])
    other = points(Said(test.predictions, shuffled, test.ladder), validation, metadata)
    where = ("Mass", slice(None), "threshold")
    assert other.loc[where, "value"].tolist() == found.loc[where, "value"].tolist()
    assert other.loc[where, "floor"].tolist() == found.loc[where, "floor"].tolist()
    assert (
        other.loc["Mass", "specificity 0.90"].loc["sensitivity", "value"]
        != (found.loc["Mass", "specificity 0.90"].loc["sensitivity", "value"])
    )


@pytest.mark.parametrize(
    ("label", "words"),
    [("Hernia", "4 in validation, 4 in test"), ("Edema", "4 in test"), ("Nodule", "0 in validation")],
)
def test_findings_of_fewer_than_ten_patients_in_either_role_have_no_number_and_are_named(found, label, words):
    rows = found.loc[label]
    assert rows[["value", "low", "high", "floor", "difference"]].isna().all(axis=None)
    assert rows["note"].str.contains("fewer than 10 patients").all() and rows["note"].str.contains(words).all()


def test_the_mean_is_over_the_findings_that_have_a_number_and_names_the_others(found):
    rows = found.loc["mean14", "specificity 0.90"]
    assert rows.index.tolist() == [SENSITIVITY, SPECIFICITY]
    assert rows.loc[SENSITIVITY, "value"] == found.loc["Mass", "specificity 0.90"].loc[SENSITIVITY, "value"]
    assert rows.loc[SENSITIVITY, "note"].startswith("mean over 1 findings; without Atelectasis, ")
