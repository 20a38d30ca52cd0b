import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from cxr.errors import InputError
from cxr.labels import FINDINGS, LABELS, NO_FINDING, to_matrix
from cxr.metrics.bootstrap import Estimate, Resampling, bootstrap_weights, mean_of, weighted_ratios
from cxr.metrics.classification import classification_table, fewer_patients
from cxr.metrics.constants import fit_classification
from cxr.metrics.guesses import guess_constant
from cxr.metrics.image_free import climb
from cxr.metrics.judging import DESCRIPTIVE, SAME, TOO_FEW, WORSE
from cxr.metrics.ladder import CONSTANT, Ladder
from cxr.metrics.ranking import expected_average_precision, ranking_scores
from cxr.metrics.table import METRIC_COLUMNS, metric_row

BOOTSTRAP = Resampling(samples=200, confidence=0.9, seed=0)


def split(labels: list[str], patients: list[int] | None = None) -> pd.DataFrame:
    names = [f"{index:08d}_000.png" for index in range(len(labels))]
    return pd.DataFrame({"image": names, "patient": patients or list(range(len(labels))), "labels": labels})


def predictions(images: pd.Series, probabilities: np.ndarray) -> pd.DataFrame:
    table = pd.DataFrame(probabilities, columns=list(LABELS))
    table.insert(0, "image", list(images))
    return table


def constant(count: int, **values: float) -> np.ndarray:
    matrix = np.zeros((count, len(LABELS)))
    for label, value in values.items():
        matrix[:, LABELS.index(label.replace("_", " ") if label == "No_Finding" else label)] = value
    return matrix


def ladder_of(train: pd.DataFrame, truth: pd.DataFrame) -> Ladder:
    """The constants fitted on training labels, and no other image-free predictor."""
    said = guess_constant(fit_classification(to_matrix(train["labels"])), len(truth))
    return Ladder(
        tuple(truth["image"]), {CONSTANT: said}, {CONSTANT: CONSTANT}, pd.DataFrame(columns=["metric", "label"])
    )


def table_of(protocol, experiment, said, truth, train, **settings) -> pd.DataFrame:
    return classification_table(protocol, experiment, said, truth, ladder_of(train, truth), **settings)


def cell(table: pd.DataFrame, metric: str, label: str = "") -> pd.Series:
    rows = table[(table["metric"] == metric) & (table["label"] == label)]
    assert len(rows) == 1
    return rows.iloc[0]


@pytest.mark.parametrize("kind", ["distinct", "tied", "constant"])
@pytest.mark.parametrize("weighting", ["ones", "integers", "floats"])
def test_ranking_scores_are_those_of_scikit_learn(kind: str, weighting: str) -> None:
    draw = np.random.default_rng(3)
    truth = draw.random(300) < 0.2
    scores = {"distinct": draw.random(300) + 0.2 * truth, "tied": draw.integers(0, 7, 300), "constant": np.ones(300)}[
        kind
    ]
    weights = {
        "ones": np.ones((2, 300), dtype=np.uint16),
        "integers": draw.integers(0, 4, (5, 300)).astype(np.uint16),
        "floats": draw.random((5, 300)),
    }[weighting]
    auroc, auprc = ranking_scores(truth, scores, weights)
    np.testing.assert_allclose(auroc, [roc_auc_score(truth, scores, sample_weight=w) for w in weights], atol=1e-12)
    np.testing.assert_allclose(
        auprc, [average_precision_score(truth, scores, sample_weight=w) for w in weights], atol=1e-12
    )


def test_ranking_scores_by_hand() -> None:
    # ranked 0.9+ 0.8- 0.7+ 0.1-: three of four pairs in order; precision 1 and 2/3 at the two positives
    auroc, auprc = ranking_scores(np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.1]), np.ones((1, 4), np.uint16))
    assert auroc == pytest.approx([0.75])
    assert auprc == pytest.approx([(1 + 2 / 3) / 2])


def test_ranking_scores_of_one_class_are_undefined() -> None:
    weights = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 1, 1]], dtype=np.uint16)
    auroc, auprc = ranking_scores(np.array([1, 1, 0, 0]), np.array([0.9, 0.2, 0.3, 0.1]), weights)
    assert np.isnan(auroc).tolist() == [False, True, True]
    assert np.isnan(auprc).tolist() == [False, False, True]


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    truth, scores = draw.random(50) < 0.4, draw.random(50)
    weights = bootstrap_weights(np.arange(50) // 3, 40, 1)
    whole = ranking_scores(truth, scores, weights), weighted_ratios(scores[:, None], truth[:, None], weights)[0].samples
    monkeypatch.setattr("cxr.metrics.bootstrap.CHUNK", 120)
    monkeypatch.setattr("cxr.metrics.ranking.CHUNK", 120)
    parts = ranking_scores(truth, scores, weights), weighted_ratios(scores[:, None], truth[:, None], weights)[0].samples
    np.testing.assert_array_equal(whole[0], parts[0])
    np.testing.assert_allclose(whole[1], parts[1], rtol=1e-14)


def test_sums_of_large_weights_do_not_overflow() -> None:
    truth, scores = np.arange(40_000) % 2, np.linspace(0, 1, 40_000)
    once, often = (np.full((1, 40_000), each, dtype=np.uint16) for each in (1, 65_535))
    for one, other in zip(ranking_scores(truth, scores, once), ranking_scores(truth, scores, often), strict=True):
        assert one == pytest.approx(other)


def test_bootstrap_draws_patients() -> None:
    patients = np.array([7, 7, 7, 3, 5, 5])
    weights = bootstrap_weights(patients, 500, 2)
    assert weights.shape == (500, 6)
    assert weights.dtype == np.uint16
    assert (weights[:, 0] == weights[:, 1]).all() and (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, 4] == weights[:, 5]).all()
    assert (weights[:, [0, 3, 4]].sum(axis=1) == 3).all()  # three patients, drawn three times
    sizes = weights.sum(axis=1)
    assert len(set(sizes)) > 1
    assert abs(sizes.mean() - 6) < 0.3
    np.testing.assert_array_equal(weights, bootstrap_weights(patients, 500, 2))
    assert (weights != bootstrap_weights(patients, 500, 3)).any()


def test_interval_of_a_mean_has_the_width_theory_gives() -> None:
    values = np.random.default_rng(0).normal(size=(400, 1))
    estimate = weighted_ratios(values, np.ones_like(values), bootstrap_weights(np.arange(400), 2000, 0))[0]
    low, high = estimate.interval(0.95)
    assert low < estimate.value < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)


def test_undefined_scores_stay_undefined() -> None:
    nothing = Estimate(np.nan, np.full(3, np.nan))
    some = Estimate(0.6, np.array([0.5, np.nan, 0.7]))
    assert np.isnan(nothing.interval(0.9)).all()
    assert mean_of([nothing, some]).value == 0.6
    assert np.isnan(mean_of([nothing, nothing]).value)
    row = metric_row("auroc", "Mass", some, None, "", confidence=0.9, support=4, patients=4, effective=4)
    assert row["note"] == "undefined in 1 of 3 resamples"
    assert np.isnan(row["floor"]) and np.isnan(row["difference"])


def test_sigmoid_table_by_hand() -> None:
    train = split([NO_FINDING] * 3 + ["Mass"])
    truth = split([NO_FINDING, "Mass|Effusion", NO_FINDING, "Mass"])
    probabilities = constant(4, No_Finding=0.8, Mass=0.25)
    probabilities[3, LABELS.index("Mass")] = 0.9
    table = table_of(
        "paper",
        "baseline_sigmoid",
        predictions(truth["image"], probabilities),
        truth,
        train,
        activation="sigmoid",
        resampling=BOOTSTRAP,
    )
    assert list(table.columns) == METRIC_COLUMNS
    # wrong: image 1 No Finding, Mass, Effusion; image 3 No Finding. The majority: the same and Mass of image 3
    assert cell(table, "accuracy")["value"] == pytest.approx(1 - 4 / 60)
    assert cell(table, "accuracy")["floor"] == pytest.approx(1 - 5 / 60)
    assert cell(table, "accuracy", "mean14")["value"] == pytest.approx(1 - 2 / 56)
    assert cell(table, "accuracy", NO_FINDING)["value"] == 0.5
    assert cell(table, "subset_accuracy")["value"] == 0.5
    assert cell(table, "subset_accuracy")["floor"] == 0.5
    assert cell(table, "subset_accuracy")["floor_name"].endswith(NO_FINDING)
    assert cell(table, "label_sensitivity", "Mass")["value"] == 0.5
    assert cell(table, "label_sensitivity", "Mass")["support"] == 2
    assert cell(table, "label_sensitivity", NO_FINDING)[["value", "floor"]].tolist() == [1, 1]
    log = np.log
    clipped = 12 * log(1 - 1e-7)
    images = [  # the other labels are 0 and certain; Effusion of image 1 is missed with certainty
        log(0.8) + log(0.75) + clipped + log(1 - 1e-7),
        log(0.2) + log(0.25) + clipped + log(1e-7),
        log(0.8) + log(0.75) + clipped + log(1 - 1e-7),
        log(0.2) + log(0.9) + clipped + log(1 - 1e-7),
    ]
    assert cell(table, "loss")["value"] == pytest.approx(-np.mean(images) / 15)
    assert cell(table, "loss")["higher_is_better"] == 0
    floor = [2 * log(0.75), 2 * log(0.25) + log(1e-7), 2 * log(0.75), 2 * log(0.25)]
    assert cell(table, "loss")["floor"] == pytest.approx(-np.mean(floor) / 15, rel=1e-5)


def test_softmax_table_by_hand() -> None:
    train = split([NO_FINDING] * 2 + ["Mass|Effusion"])
    truth = split([NO_FINDING, "Effusion|Mass", "Mass|Effusion", "Mass"])
    probabilities = constant(4, No_Finding=0.5, Effusion=0.25, Mass=0.25)
    probabilities[1] = constant(1, No_Finding=0.2, Effusion=0.7, Mass=0.1)
    probabilities[2] = constant(1, No_Finding=0.2, Effusion=0.1, Mass=0.7)
    table = table_of(
        "paper",
        "baseline_softmax",
        predictions(truth["image"], probabilities),
        truth,
        train,
        activation="softmax",
        resampling=BOOTSTRAP,
    )
    # the first label of a pair is Effusion: right are images 0 and 1; image 2 is said to be Mass
    assert cell(table, "accuracy")["value"] == 0.5
    assert cell(table, "accuracy")["floor"] == 0.25
    loss = -(np.log(0.5) + 2 * (np.log(0.7) + np.log(0.1)) + np.log(0.25)) / 4
    assert cell(table, "loss")["value"] == pytest.approx(loss)
    # prior: No Finding 2, Mass 1, Effusion 1, of 4
    assert cell(table, "loss")["floor"] == pytest.approx(-(np.log(0.5) + 5 * np.log(0.25)) / 4)
    assert cell(table, "label_sensitivity", "Mass")["value"] == pytest.approx(1 / 3)


def test_of_several_labels_the_softmax_is_asked_for_the_first() -> None:
    truth = split(["Mass|Effusion"] * 3 + ["Mass"])
    probabilities = constant(4, Effusion=0.6, Mass=0.4)
    probabilities[2] = constant(1, Effusion=0.4, Mass=0.6)
    table = table_of(
        "p", "e", predictions(truth["image"], probabilities), truth, split(["Effusion|Mass"] * 2 + ["Mass"]),
        activation="softmax", resampling=BOOTSTRAP,
    )  # fmt: skip
    assert cell(table, "accuracy")["value"] == 2 / 4
    assert cell(table, "accuracy")["floor"] == 3 / 4, (
        "Effusion is the first label of most training images, and of three here"
    )
    assert cell(table, "accuracy")["floor_name"] == "always Effusion"


def test_a_probability_of_exactly_one_half_predicts_nothing() -> None:
    truth = split([NO_FINDING, "Mass"])
    table = table_of(
        "p",
        "e",
        predictions(truth["image"], np.full((2, 15), 0.5)),
        truth,
        truth,
        activation="sigmoid",
        resampling=BOOTSTRAP,
    )
    assert cell(table, "accuracy")["value"] == pytest.approx(14 / 15)
    assert cell(table, "label_sensitivity", "Mass")["value"] == 0


def test_a_row_says_of_score_floor_and_difference_each_its_own_interval() -> None:
    score, floor = Estimate(0.8, np.linspace(0.7, 0.9, 101)), Estimate(0.5, np.linspace(0.6, 0.4, 101))
    row = metric_row("mse", "all", score, floor, "x", confidence=0.9, support=3, patients=3, effective=3)
    assert [row[name] for name in ("value", "low", "high")] == pytest.approx([0.8, 0.71, 0.89])
    assert [row[name] for name in ("floor", "floor_low", "floor_high")] == pytest.approx([0.5, 0.41, 0.59])
    # on the same resample both are high or low together: 0.7 - 0.6 to 0.9 - 0.4
    names = ("difference", "difference_low", "difference_high")
    assert [row[name] for name in names] == pytest.approx([0.3, 0.12, 0.48])
    assert row["higher_is_better"] == 0 and row["support"] == 3 and row["floor_name"] == "x" and row["note"] == ""


def test_ranking_rows() -> None:
    draw = np.random.default_rng(0)
    labels = draw.choice([NO_FINDING, "Mass", "Mass|Nodule", "Effusion"], 80).tolist()
    truth = split(labels, patients=(np.arange(80) // 2).tolist())
    targets = to_matrix(labels)
    probabilities = np.clip(0.3 * targets + 0.6 * draw.random(targets.shape), 0, 1)
    table = table_of(
        "sound", "x", predictions(truth["image"], probabilities).sample(frac=1, random_state=1), truth, truth,
        activation="sigmoid", resampling=BOOTSTRAP,
    )  # fmt: skip
    mass = LABELS.index("Mass")
    row = cell(table, "auroc", "Mass")
    assert row["value"] == pytest.approx(roc_auc_score(targets[:, mass], probabilities[:, mass]))
    assert row[["floor", "floor_low", "floor_high"]].tolist() == [0.5, 0.5, 0.5]
    assert row["low"] < row["value"] < row["high"]
    assert row["difference"] == pytest.approx(row["value"] - 0.5)
    assert row["support"] == targets[:, mass].sum()
    row = cell(table, "auprc", "Mass")
    assert row["floor"] == pytest.approx(expected_average_precision(int(targets[:, mass].sum()), 80))
    assert row["floor_low"] < row["floor"] < row["floor_high"]
    assert row["floor"] > targets[:, mass].mean()
    # paired: the interval of the difference is no wider than if the draws were independent
    apart = np.hypot(row["high"] - row["low"], row["floor_high"] - row["floor_low"])
    assert row["difference_high"] - row["difference_low"] < apart
    missing = cell(table, "auroc", "Hernia")
    assert np.isnan(missing[["value", "low", "high", "floor", "difference"]].astype(float)).all()
    assert missing["support"] == 0
    assert missing["note"] == "undefined: 0 of 80 images have the label"
    mean = cell(table, "auroc", "mean14")
    shown = [cell(table, "auroc", label)["value"] for label in ("Effusion", "Mass", "Nodule")]
    assert mean["value"] == pytest.approx(np.mean(shown))
    assert mean["note"].startswith("mean over 3 labels; fewer than 10 patients with or without the label: Atelectasis")
    assert cell(table, "auroc", "mean15")["value"] == pytest.approx(
        np.mean([*shown, cell(table, "auroc", NO_FINDING)["value"]])
    )


def test_a_random_ranking_has_the_expected_average_precision() -> None:
    draw = np.random.default_rng(0)
    for positives, count in ((1, 12), (3, 20), (7, 9), (5, 5)):
        truth = np.arange(count) < positives
        found = [ranking_scores(truth, draw.random(count), np.ones((1, count)))[1][0] for _ in range(4000)]
        error = np.std(found) / np.sqrt(len(found))
        assert expected_average_precision(positives, count) == pytest.approx(np.mean(found), abs=4 * error + 1e-9)
    assert np.isnan(expected_average_precision(0, 9))


def test_a_mean_is_over_the_labels_that_ten_patients_have_in_every_resample() -> None:
    """Hernia on three patients is in no mean, and the mean of a resample without it is over the same labels."""
    labels = ["Mass"] * 12 + ["Hernia"] * 3 + [NO_FINDING] * 25
    truth = split(labels)
    said = np.random.default_rng(1).random((40, 15))
    table = table_of(
        "s", "x", predictions(truth["image"], said), truth, truth, activation="sigmoid", resampling=BOOTSTRAP
    )
    mean, mass = cell(table, "auroc", "mean14"), cell(table, "auroc", "Mass")
    assert mean["value"] == mass["value"] and mean["low"] == mass["low"]
    assert "Hernia" in mean["note"] and "Mass" not in mean["note"]
    assert [cell(table, "auroc", label)["patients"] for label in ("Mass", "Hernia", "mean14")] == [12, 3, 12]
    assert cell(table, "auroc", "Hernia")["verdict"] == TOO_FEW
    assert cell(table, "auprc", "Mass")["verdict"] == DESCRIPTIVE  # against a constant it is too skewed to be judged
    assert np.isnan(cell(table, "auprc", "Mass")["p"]) and np.isfinite(cell(table, "auroc", "Mass")["p"])
    few = table_of(
        "s",
        "x",
        predictions(truth["image"][:16], said[:16]),
        truth[:16],
        truth,
        activation="sigmoid",
        resampling=BOOTSTRAP,
    )
    mean = cell(few, "auroc", "mean14")
    shown = [cell(few, "auroc", label)["value"] for label in ("Mass", "Hernia")]
    assert mean["value"] == pytest.approx(np.mean(shown)) and mean["verdict"] == TOO_FEW


def test_patients_with_and_without_a_label_are_counted_not_images() -> None:
    targets = to_matrix(["Mass", "Mass", "Mass|Edema", NO_FINDING, NO_FINDING])
    found = fewer_patients(targets, np.array([1, 1, 2, 2, 3]))
    named = dict(zip(LABELS, found.tolist(), strict=True))
    assert named["Mass"] == 2 and named["Edema"] == 1 and named[NO_FINDING] == 2 and named["Hernia"] == 0


def test_a_number_stands_against_the_rung_that_is_best_on_the_training_images() -> None:
    """Effusion goes by the view. A network that knows the view alone equals its floor, and beats the constant by far."""
    draw = np.random.default_rng(0)

    def images(count: int, first: int) -> pd.DataFrame:
        views = draw.choice(["PA", "AP"], count)
        ill = draw.random(count) < np.where(views == "AP", 0.7, 0.1)
        table = split(np.where(ill, "Effusion", NO_FINDING).tolist(), list(range(first, first + count)))
        return table.assign(view=views, sex="M", age=50.0, follow_up=0.0)

    train, truth = images(300, 0), images(200, 1000)
    said = constant(200, Effusion=0.1, No_Finding=0.9)
    said[truth["view"] == "AP"] = constant(1, Effusion=0.7, No_Finding=0.3)
    ladder = climb(train, truth.drop(columns="labels"), 0)
    table = classification_table(
        "s", "x", predictions(truth["image"], said), truth, ladder, activation="sigmoid", resampling=BOOTSTRAP
    )
    row = cell(table, "auroc", "Effusion")
    assert (
        row["floor_name"].startswith("metadata") and row["constant"] == 0.5 and row["metadata"] == row["floor"] > 0.75
    )
    assert np.isnan(row["history"]) and row["verdict"] == SAME == cell(table, "auprc", "Effusion")["verdict"]
    loss = cell(table, "loss", "Effusion")
    assert loss["floor"] == pytest.approx(loss["metadata"]) and loss["floor"] < loss["constant"]
    assert loss["verdict"] in (SAME, WORSE)
    assert cell(table, "loss")["verdict"] == cell(table, "accuracy", NO_FINDING)["verdict"] == DESCRIPTIVE


def test_a_softmax_is_judged_among_the_findings_on_the_images_with_one() -> None:
    """A shift of the share of No Finding moves its accuracy, not the one among the findings."""
    truth = split([NO_FINDING] * 3 + ["Mass", "Mass|Effusion", "Edema"])
    said = constant(6, No_Finding=0.8, Mass=0.15, Edema=0.05)
    table = table_of(
        "p", "e", predictions(truth["image"], said), truth, truth, activation="softmax", resampling=BOOTSTRAP
    )
    assert cell(table, "accuracy")["value"] == 0.5
    row = cell(table, "accuracy", "findings")  # first findings: Mass, Effusion, Edema; it says Mass of all
    assert row["value"] == pytest.approx(1 / 3) and row["support"] == row["patients"] == 3
    log = np.log
    loss = -(log(0.75) + log(0.75) + log(1e-7) + log(0.25)) / 3
    assert cell(table, "loss", "findings")["value"] == pytest.approx(loss)
    # of the training images with a finding, Effusion, Edema and Mass are first equally often; Effusion comes first
    assert row["floor"] == pytest.approx(1 / 3) and row["floor_name"] == "always Effusion"
    floor = -(log(0.5) + log(0.5) + log(0.25) + log(0.25)) / 3
    assert cell(table, "loss", "findings")["floor"] == pytest.approx(floor)


def test_a_constant_predictor_is_its_floor() -> None:
    truth = split(["Mass", NO_FINDING, NO_FINDING, "Mass|Nodule", NO_FINDING, "Edema"])
    prevalence = to_matrix(truth["labels"]).mean(axis=0)
    table = table_of(
        "sound",
        "x",
        predictions(truth["image"], np.tile(prevalence, (6, 1))),
        truth,
        truth,
        activation="sigmoid",
        resampling=BOOTSTRAP,
    )
    same = table[table["metric"].isin(["loss", "accuracy", "auroc", "auprc"])].dropna(subset="value")
    assert len(same) > 10
    np.testing.assert_allclose(same[["difference", "difference_low", "difference_high"]], 0, atol=1e-12)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.iloc[1:], "1 of 3 images of the split are missing .first: 00000000_000.png"),
        (lambda t: t.assign(image=["a.png", *t["image"][1:]]), "1 images are not in the split .first: a.png"),
        (lambda t: pd.concat([t, t.iloc[:1]]), "1 images occur more than once"),
        (lambda t: t.drop(columns=FINDINGS[4]), "column 'Mass' is missing"),
        (lambda t: t.assign(Mass=np.nan), "3 images have a value that is not a probability"),
        (lambda t: t.assign(Mass=1.5), "3 images have a value that is not a probability"),
    ],
)
def test_predictions_of_another_run_are_refused(spoil, message: str) -> None:
    truth = split(["Mass", NO_FINDING, NO_FINDING])
    table = spoil(predictions(truth["image"], constant(3, No_Finding=0.5)))
    known = ladder_of(truth, truth)
    with pytest.raises(InputError, match=message):
        classification_table("sound", "x", table, truth, known, activation="sigmoid", resampling=BOOTSTRAP)
    with pytest.raises(InputError, match="holds no image"):
        classification_table("sound", "x", table, truth.iloc[:0], known, activation="sigmoid", resampling=BOOTSTRAP)


def test_floors_of_other_images_are_refused() -> None:
    truth = split(["Mass", NO_FINDING, NO_FINDING])
    said = predictions(truth["image"], constant(3, No_Finding=0.5))
    with pytest.raises(InputError, match="the floors are of other images"):
        classification_table(
            "s", "x", said, truth, ladder_of(truth, truth.iloc[::-1]), activation="sigmoid", resampling=BOOTSTRAP
        )
