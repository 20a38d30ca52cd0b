from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from cxr.data.label_list import read_label_table
from cxr.data.splits import read_image_list
from cxr.errors import InputError
from cxr.labels import FINDINGS, LABELS, NO_FINDING, to_matrix
from cxr.metrics.guesses import Guess, best_sets, point_scores
from cxr.metrics.image_free import SMOOTHED, climb, history_features, metadata_features
from cxr.metrics.ladder import CONSTANT, Ladder


def images(patients: list[int], labels: list[str], **columns: object) -> pd.DataFrame:
    count = len(patients)
    told = {"follow_up": range(count), "age": 50.0, "sex": "M", "view": "PA"} | columns
    return pd.DataFrame({"image": [f"{at}.png" for at in range(count)], "patient": patients, "labels": labels} | told)


def made(count: int, seed: int, per_patient: int = 1, sick: float = 0.5) -> pd.DataFrame:
    """Images of which Effusion goes by the view, and Mass by the patient."""
    draw = np.random.default_rng(seed)
    patients = np.arange(count) // per_patient
    views = draw.choice(["PA", "AP"], count)
    masses = np.random.default_rng(0).random(count)[patients] < sick
    effusions = draw.random(count) < np.where(views == "AP", 0.7, 0.1)
    names = [["Effusion"] * bool(e) + ["Mass"] * bool(m) for e, m in zip(effusions, masses, strict=True)]
    labels = ["|".join(each) or NO_FINDING for each in names]
    return images([*patients], labels, view=views, follow_up=np.arange(count) % per_patient)


def row(found: Ladder, metric: str, label: str) -> pd.Series:
    return found.scores.set_index(["metric", "label"]).loc[(metric, label)]


def test_a_label_that_goes_by_the_view_lifts_the_metadata_above_the_constant() -> None:
    found = climb(made(400, 1), made(200, 2).assign(patient=lambda table: table["patient"] + 10_000), 0)
    assert found.rungs[found.floor("auroc", "Effusion")] == "metadata"
    assert found.rungs[found.floor("loss", "Effusion")] == "metadata"
    assert row(found, "auroc", "Effusion")[CONSTANT] == 0.5
    assert "history" not in found.rungs.values()  # no patient of the test images is in training
    guess = found.guesses[found.floor("auroc", "Effusion")].probabilities[:, LABELS.index("Effusion")]
    assert roc_auc_score(["Effusion" in text for text in made(200, 2)["labels"]], guess) > 0.75


def test_a_label_that_goes_by_the_patient_is_known_to_the_history_alone() -> None:
    whole = made(600, 1, per_patient=3)
    test = (np.arange(600) % 3) == 1
    found = climb(whole[~test], whole[test].drop(columns="labels"), 0)
    assert found.rungs[found.floor("auroc", "Mass")] == "history"
    assert found.rungs[found.of_rung("metadata", "auroc", "Mass")] == "metadata"
    said = found.guesses[found.floor("auroc", "Mass")].probabilities[:, LABELS.index("Mass")]
    assert roc_auc_score(["Mass" in text for text in whole[test]["labels"]], said) > 0.95


def test_labels_that_nothing_tells_of_stay_with_the_constant_loss() -> None:
    draw = np.random.default_rng(3)
    labels = draw.choice(["Mass", NO_FINDING], 400, p=[0.3, 0.7])
    train = images([*range(400)], [*labels], age=draw.uniform(20, 80, 400), view=draw.choice(["PA", "AP"], 400))
    found = climb(train, train.assign(patient=train["patient"] + 1000).drop(columns="labels"), 0)
    losses = row(found, "loss", "Mass")
    assert losses[CONSTANT] <= losses.min() + 0.005  # what a regression learns of noise does not pay out of fold


def test_an_images_own_labels_are_no_part_of_its_history() -> None:
    train = images([1, 1, 2], ["Mass", "Edema", "Mass"], follow_up=[0, 1, 0])
    labels = to_matrix(train["labels"])
    mass, edema = LABELS.index("Mass"), LABELS.index("Edema")
    own = history_features(train, train, labels, own=True)
    assert own[:, 0].tolist() == [0, 0, 1]  # the third patient's only image has no other
    assert own[:, 1] == pytest.approx(np.log([2, 2, 1]))
    prevalence = labels.mean(axis=0)
    share = (0 + prevalence[mass]) / 2  # the other image of the patient shows Edema, not Mass
    assert own[0, 2 + mass] == pytest.approx(np.log(share / (1 - share)))
    changed = labels.copy()
    changed[0, edema] = 1  # a label of the first image's own, at an unchanged prevalence of the others
    others = history_features(train, train, changed, own=True)[0, 2 + mass]
    assert others == pytest.approx(own[0, 2 + mass])


def test_the_history_of_a_test_image_is_all_of_its_patients_training_images_the_nearest_first() -> None:
    train = images([1, 1, 2, 2], ["Mass", NO_FINDING, NO_FINDING, NO_FINDING], follow_up=[0, 10, 0, 1])
    test = images([1, 1, 3], [""] * 3, follow_up=[1, 9, 0])
    found = history_features(test, train, to_matrix(train["labels"]), own=False)
    assert found[:, 0].tolist() == [0, 0, 1] and found[:, 1] == pytest.approx(np.log([3, 3, 1]))
    mass = LABELS.index("Mass")
    assert found[0, 2 + mass] == found[1, 2 + mass]  # all alike
    assert found[0, 17 + mass] > found[1, 17 + mass]  # by distance: the first image is beside the one with Mass
    near, far = np.exp(-1), np.exp(-9)
    share = (near + 0.25) / (near + far + 1)
    assert found[0, 17 + mass] == pytest.approx(np.log(share / (1 - share)))


def test_the_order_of_the_training_images_changes_nothing() -> None:
    train = made(300, 4, per_patient=3)
    shuffled = train.sample(frac=1, random_state=0)
    test = train.drop(columns="labels").head(20)
    for one, other in zip(*(climb(table, test, 0).guesses.values() for table in (train, shuffled)), strict=True):
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-6)


def test_missing_metadata_is_a_case_of_its_own() -> None:
    table = images([1, 2], ["", ""], age=[np.nan, 50.0], sex=["", "F"], view=["", "AP"], follow_up=[np.nan, 0])
    found = metadata_features(table, table)
    assert np.isfinite(found).all() and (found[0] != found[1]).any()
    known = table.assign(age=[50.0, 50.0])
    assert (metadata_features(known, table)[0] != found[0]).any()  # 50 is not "missing"


def test_ages_and_follow_up_numbers_beyond_those_of_training_count_as_the_highest_known() -> None:
    """Sizes of one image per patient hardly hold a late follow-up; the official test images are mostly late ones."""
    table = images([*range(300)], [""] * 300, age=np.linspace(20, 80, 300), follow_up=[0, 1, 2] * 100)
    asked = images([1, 2, 3], [""] * 3, age=[50.0, 5.0, 95.0], follow_up=[2, 150, 1])
    found = metadata_features(asked, table)
    ends = table["age"].quantile([0.01, 0.99]).to_list()
    within = asked.assign(age=[50.0, *ends], follow_up=[2, 2, 1])
    assert (found == metadata_features(within, table)).all()
    assert (found[1] != metadata_features(asked, asked)[1]).any()  # unbounded, both would be told apart


def test_a_label_that_few_images_have_is_not_said_to_be_impossible() -> None:
    """The raw prevalence is 0 in the folds without the one image, so that the smoothed one has the better cross-entropy."""
    train = images([*range(60)], [NO_FINDING] * 40 + ["Mass"] * 19 + ["Hernia"])
    found = climb(train, train.drop(columns="labels").assign(patient=-1), 0)
    assert found.floor("loss", "Hernia") != CONSTANT and found.floor("softmax_loss", "") != CONSTANT
    assert row(found, "loss", "Hernia")[SMOOTHED] < row(found, "loss", "Hernia")[CONSTANT]
    edema = LABELS.index("Edema")
    assert found.guesses[SMOOTHED].probabilities[:, edema] == pytest.approx(0.5 / 61)


def test_a_label_with_too_few_examples_gets_its_prevalence() -> None:
    train = made(200, 5)
    train.loc[:8, "labels"] = "Hernia"
    found = climb(train, train.drop(columns="labels").assign(patient=-1), 0)
    hernia = LABELS.index("Hernia")
    assert found.guesses[CONSTANT].probabilities[:, hernia] == pytest.approx(9 / 200)
    for name in (name for name in found.guesses if name != CONSTANT):
        assert found.guesses[name].probabilities[:, hernia] == pytest.approx(9.5 / 201)
    with pytest.raises(InputError, match="no image-free floor"):
        climb(train.head(0), train, 0)


def test_the_images_of_one_patient_cannot_be_held_out_and_have_no_cross_validated_score() -> None:
    train = made(40, 7, per_patient=40)
    found = climb(train, train.assign(patient=-1).drop(columns="labels"), 0)
    assert found.scores[[*found.guesses]].isna().all(axis=None)
    assert {found.floor(*key) for key in found.scores[["metric", "label"]].itertuples(index=False)} == {CONSTANT}


def test_the_choice_is_the_best_score_the_lower_rung_of_equals_and_the_least_loss() -> None:
    rungs = {CONSTANT: CONSTANT, "a": "metadata", "b": "history"}
    rows = [("auroc", "x", 0.5, 0.6, 0.7), ("loss", "x", 0.3, 0.2, 0.25), ("softmax_loss", "", 2.0, 1.0, 3.0)]
    rows += [("accuracy", "x", 0.9, 0.9, 0.9), ("auroc", "y", np.nan, np.nan, np.nan)]
    scores = pd.DataFrame(rows, columns=["metric", "label", *rungs])
    found = Ladder((), {}, rungs, scores)
    assert [found.floor(*row[:2]) for row in rows] == ["b", "a", "a", CONSTANT, CONSTANT]
    assert found.of_rung("metadata", "auroc", "x") == "a" and found.of_rung("other", "auroc", "x") is None
    assert found.floor("auroc", "not scored") == CONSTANT


def test_scores_of_one_fold_are_those_of_scikit_learn() -> None:
    draw = np.random.default_rng(6)
    targets = (draw.random((200, 15)) < 0.3).astype(float)
    said = draw.random((200, 15))
    found = point_scores(Guess.of_model(said), targets, np.zeros(200))
    for metric, peer in (("auroc", roc_auc_score), ("auprc", average_precision_score)):
        values = [peer(targets[:, at], said[:, at]) for at in range(15)]
        assert found[metric, LABELS[3]] == pytest.approx(values[3])
        assert found[metric, "mean14"] == pytest.approx(np.mean(values[: len(FINDINGS)]))
    assert found["accuracy", "mean14"] == pytest.approx(((said > 0.5) == targets)[:, :14].mean())


def test_folds_are_ranked_each_by_itself() -> None:
    # Within a fold the scores rank perfectly; the second fold's lie below all of the first's.
    truth = np.zeros((40, 15))
    truth[:10, 0] = truth[20:30, 0] = 1
    said = np.full((40, 15), 0.5)
    said[:, 0] = np.repeat([0.9, 0.8, 0.2, 0.1], 10)
    guess = Guess.of_model(said)
    assert point_scores(guess, truth, np.repeat([0, 1], 20))["auroc", LABELS[0]] == 1
    assert point_scores(guess, truth, np.zeros(40))["auroc", LABELS[0]] == 0.75


def test_the_set_of_an_image_is_what_is_above_a_half_or_else_the_likeliest() -> None:
    said = np.zeros((2, 15))
    said[0, [1, 2]], said[1, [3, 4]] = 0.6, (0.4, 0.3)
    assert [np.flatnonzero(each).tolist() for each in best_sets(said)] == [[1, 2], [3]]


OFFICIAL = Path(__file__).parents[3] / "shared" / "nih-sample"


@pytest.mark.skipif(not OFFICIAL.exists(), reason="the official tables are not here")
def test_age_sex_view_and_follow_up_number_tell_0_63_of_the_official_test_list() -> None:
    records, _ = read_label_table(OFFICIAL / "Data_Entry_2017_v2020.csv")
    tested = records["image"].isin(read_image_list(OFFICIAL / "test_list.txt"))
    train, test = records[~tested], records[tested]
    found = climb(train, test.drop(columns="labels"), 0)
    targets = to_matrix(test["labels"])
    best = found.guesses[found.floor("auroc", "mean14")]
    value = np.mean([roc_auc_score(targets[:, at], best.probabilities[:, at]) for at in range(len(FINDINGS))])
    assert 0.623 < value < 0.645
    assert found.rungs[found.floor("auroc", "mean14")] == "metadata"
