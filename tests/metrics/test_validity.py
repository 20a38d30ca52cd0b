from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score

from cxr.errors import InputError
from cxr.labels import FINDINGS, LABELS, NO_FINDING, to_matrix
from cxr.metrics import subgroups, validity
from cxr.metrics.bootstrap import Resampling
from cxr.metrics.guesses import Guess
from cxr.metrics.ladder import CONSTANT, Ladder
from cxr.metrics.validity_rows import Said

COUNT = 600
COMMON = ("Mass", "Nodule", "Effusion")  # Effusion is absent in AP images; Hernia has few patients
BOOTSTRAP = Resampling(samples=60, confidence=0.9, seed=0)


def study() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, Ladder]:
    """Predictions, truth and metadata of 600 images of 300 patients, and a ladder: a constant, and one that knows the sex."""
    draw = np.random.default_rng(5)
    names = [f"{index:08d}_000.png" for index in range(COUNT)]
    patients = np.arange(COUNT) // 2
    female = patients % 2 == 1
    metadata = pd.DataFrame({"image": names, "patient": patients, "follow_up": 0.0})
    metadata["age"] = np.where(patients < 250, 20.0 + 50 * (patients % 5 == 0), np.nan)  # 20 or 70
    metadata["sex"] = np.where(female, "F", "M")
    metadata["view"] = np.where(patients < 150, "PA", "AP")
    has = {name: draw.random(COUNT) < 0.25 for name in COMMON} | {"Hernia": np.arange(COUNT) < 4}
    has["Effusion"] &= (metadata["view"] == "PA").to_numpy()
    labels = ["|".join(name for name in has if has[name][at]) or NO_FINDING for at in range(COUNT)]
    truth = pd.DataFrame({"image": names, "patient": patients, "labels": labels})
    targets = to_matrix(labels)
    said = np.clip(0.2 + 0.25 * targets * female[:, None] + draw.normal(0, 0.08, (COUNT, 15)), 0.01, 0.99)
    predictions = pd.DataFrame(said, columns=list(LABELS)).assign(image=names)
    constant = np.tile(np.full(15, 0.2), (COUNT, 1))
    sexed = constant + 0.1 * female[:, None]
    scores = pd.DataFrame(
        [["loss", "mean14", 0.3, 0.4], ["auroc", "mean14", 0.5, 0.6]], columns=["metric", "label", CONSTANT, "sexed"]
    )
    guesses = {CONSTANT: Guess.of_model(constant), "sexed": Guess.of_model(sexed)}
    return (
        predictions,
        truth,
        metadata,
        Ladder(tuple(names), guesses, {CONSTANT: CONSTANT, "sexed": "metadata"}, scores),
    )


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return scored(*study())


def scored(predictions: pd.DataFrame, truth: pd.DataFrame, metadata: pd.DataFrame, ladder: Ladder) -> pd.DataFrame:
    """The validity table of a study whose validation images are its test images."""
    said = Said(predictions, truth, ladder)
    return validity.validity_table("sound", "baseline_sigmoid", said, said, metadata, resampling=BOOTSTRAP)


def rows(table: pd.DataFrame, **wanted: str) -> pd.DataFrame:
    return table[np.all([table[name] == value for name, value in wanted.items()], axis=0)]


def one(table: pd.DataFrame, **wanted: str) -> pd.Series:
    found = rows(table, **wanted)
    assert len(found) == 1
    return found.iloc[0]


def test_calibration_stands_beside_the_candidate_chosen_by_loss(table):
    predictions, truth, *_ = study()
    targets = to_matrix(truth["labels"])[:, : len(FINDINGS)]
    row = one(table, part="calibration", metric="brier", label="mean14")
    said = predictions[list(FINDINGS)].to_numpy()
    assert row["value"] == pytest.approx(brier_score_loss(targets.ravel(), said.ravel()))
    assert row["floor"] == pytest.approx(((0.2 - targets) ** 2).mean()) and row["floor_name"] == "training prevalence"
    assert row["difference"] == pytest.approx(row["value"] - row["floor"])
    assert (
        row["low"] < row["value"] < row["high"] and row["difference_low"] < row["difference"] < row["difference_high"]
    )
    assert (row["cases"], row["images"], row["patients"]) == (COUNT * 14, COUNT, COUNT // 2)
    has_any = pd.Series(targets.any(axis=1)).groupby(truth["patient"])
    assert row["fewest"] == min(has_any.any().sum(), (~has_any.all()).sum())
    assert set(rows(table, part="calibration")["label"]) == {"mean14", *FINDINGS}
    slope = one(table, part="calibration", metric="slope", label="Mass")
    assert np.isfinite(slope["value"]) and np.isnan(slope["floor"]), "a constant has no slope"


def test_a_finding_of_few_patients_has_no_interval_and_says_so(table):
    few = rows(table, part="calibration", label="Hernia")
    assert (few["fewest"] == 2).all() and few["low"].isna().all() and few["difference_high"].isna().all()
    assert few["note"].str.contains("fewer than 10 patients").all()
    assert np.isfinite(one(few, metric="brier")["value"])


def test_bins_hold_all_cases_of_model_and_floor_and_say_of_how_many(table):
    for before in ("", "floor_"):
        observed = rows(table, part="bins", metric=f"{before}observed")
        assert observed["cases"].sum() == COUNT * 14
        assert (observed["positives"] / observed["cases"]).to_numpy() == pytest.approx(observed["value"].to_numpy())
    assert len(rows(table, part="bins", metric="observed")) == 10
    assert len(rows(table, part="bins", metric="floor_observed")) == 1, "a constant has one bin"


def test_groups_are_compared_on_the_findings_that_all_of_them_have_each_with_its_own_floor(table):
    predictions, truth, metadata, _ = study()
    targets = pd.DataFrame(to_matrix(truth["labels"]), columns=list(LABELS))
    for view in ("PA", "AP"):
        row, mine = one(table, comparison="view", group=view), metadata["view"] == view
        expected = [roc_auc_score(targets[name][mine], predictions[name][mine]) for name in ("Mass", "Nodule")]
        assert row["value"] == pytest.approx(np.mean(expected)) and row["note"] == "over 2 findings: Mass, Nodule"
        sexed = (metadata["sex"] == "F")[mine]
        expected = [roc_auc_score(targets[name][mine], sexed) for name in ("Mass", "Nodule")]
        assert row["floor"] == pytest.approx(np.mean(expected)) and row["floor_name"] == "sexed"
        assert (row["images"], row["patients"], row["cases"]) == (300, 150, 600)
    assert one(table, comparison="sex", group="F")["note"] == "over 3 findings: Effusion, Mass, Nodule"
    assert one(table, comparison="sex", group="F")["floor"] == 0.5, "of one sex, the sex says nothing"


def test_the_gap_is_that_of_the_largest_to_the_smallest_on_the_same_draws(table):
    gap = one(table, comparison="sex", group="gap")
    women, men = (one(table, comparison="sex", group=name) for name in "FM")
    assert gap["value"] == pytest.approx(women["value"] - men["value"]) and gap["value"] > 0.2
    assert gap["note"].startswith("F minus M; ") and gap["low"] < gap["value"] < gap["high"]
    assert gap["images"] == COUNT and gap["fewest"] == min(women["fewest"], men["fewest"])


def test_groups_that_are_too_small_are_named_with_their_sizes(table):
    empty, unknown = (one(table, comparison="age", group=name) for name in ("40 to 59", "unknown"))
    assert np.isnan(empty["value"]) and empty["images"] == empty["patients"] == 0 and empty["note"]
    assert np.isnan(unknown["value"]) and unknown["images"] == 100 and "does not say" in unknown["note"]
    assert one(table, comparison="age", group="gap")["note"].split(";")[0] in (
        "under 40 minus 60 and over", "60 and over minus under 40"
    )  # fmt: skip


def test_age_bands_begin_with_their_first_year():
    ages = pd.DataFrame({"age": [39.0, 40.0, 59.0, 60.0, np.nan], "sex": "", "view": "PA"})
    found = {name: members.nonzero()[0].tolist() for name, members in subgroups.groups(ages)["age"].items()}
    assert found == {"under 40": [0], "40 to 59": [1, 2], "60 and over": [3], "unknown": [4]}


def test_files_of_other_images_are_refused():
    predictions, truth, metadata, ladder = study()
    with pytest.raises(InputError, match="the metadata are of other images"):
        scored(predictions, truth, metadata[::-1], ladder)
    with pytest.raises(InputError, match=r"validity of x \(sound\), validation images: the floors are of other images"):
        said, other = Said(predictions, truth, ladder), replace(ladder, images=ladder.images[::-1])
        validity.validity_table("sound", "x", said, Said(predictions, truth, other), metadata, resampling=BOOTSTRAP)
