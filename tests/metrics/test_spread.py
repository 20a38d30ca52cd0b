"""What scores spread by: variances against their peers, components against simulated ones, and false calls."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from cxr.metrics import spread


def test_the_influences_of_an_auroc_are_delongs_variance():
    """Against the definition: every pair of a positive and a negative compared."""
    draw = np.random.default_rng(0)
    truth = np.arange(60) % 3 == 0
    scores = np.round(draw.normal(size=60) + truth, 1)  # with ties
    value, influence = spread.influence_of_auroc(truth, scores)
    wins = np.sign(scores[truth][:, None] - scores[~truth][None, :]) / 2 + 0.5
    expected = wins.mean(1).var() / truth.sum() + wins.mean(0).var() / (~truth).sum()
    assert value == pytest.approx(roc_auc_score(truth, scores))
    assert (influence**2).sum() == pytest.approx(expected) and influence.sum() == pytest.approx(0, abs=1e-12)


def test_the_influences_foretell_what_leaving_an_image_out_does():
    draw = np.random.default_rng(1)
    truth = draw.random(400) < 0.2
    scores = draw.normal(size=400) + truth
    value, influence = spread.influence_of_auroc(truth, scores)
    left_out = [roc_auc_score(np.delete(truth, at), np.delete(scores, at)) for at in range(400)]
    assert np.corrcoef(value - np.array(left_out), influence)[0, 1] > 0.999


def test_an_auroc_without_a_class_is_undefined():
    value, influence = spread.influence_of_auroc(np.ones(3), np.arange(3))
    assert np.isnan(value) and not influence.any()


def trainings(draw, repeats, depths, seed_sd, image_sd):
    images, common = draw.normal(0, image_sd, repeats), 0.7
    rows = []
    for layers in depths:
        for repeat in range(repeats):
            rows.append((layers, repeat, repeat, common + images[repeat] + draw.normal(0, seed_sd)))
            if repeat:
                rows.append((layers, 0, repeat, common + images[0] + draw.normal(0, seed_sd)))
    table = pd.DataFrame(rows, columns=["layers", "draw", "seed", "value"])
    return table.assign(variance=0.0004, patients=50)


def test_components_are_those_of_the_simulation_and_their_intervals_cover_them():
    draw = np.random.default_rng(2)
    found, covered = [], []
    for _ in range(200):
        rows = {row["source"]: row for row in spread.components(trainings(draw, 5, [0, 7], 0.01, 0.02), 0.95)}
        found.append([rows[source]["sd"] ** 2 for source in ("seed", "training", "images drawn", "patients")])
        truth = {"seed": 0.01, "images drawn": 0.02, "training": 0.0005**0.5}
        covered.append([rows[name]["low"] <= sd <= rows[name]["high"] for name, sd in truth.items()])
    seed, training, images, patients = np.mean(found, axis=0)
    assert seed == pytest.approx(0.0001, rel=0.15) and training == pytest.approx(0.0005, rel=0.2)
    assert images == pytest.approx(0.0004, rel=0.25) and patients == pytest.approx(0.0004)
    assert (np.mean(covered, axis=0) >= 0.92).all()


def test_components_say_how_much_they_stand_on():
    rows = {row["source"]: row for row in spread.components(trainings(np.random.default_rng(0), 3, [0, 4], 1, 1), 0.95)}
    assert {name: row["trainings"] for name, row in rows.items()} == {
        "seed": 6, "images drawn": 10, "training": 6, "patients": 6
    }  # fmt: skip
    assert {row["patients"] for row in rows.values()} == {50}
    assert (
        list(spread.components(trainings(np.random.default_rng(0), 1, [0], 1, 1), 0.95)[0])
        and "low" not in rows["patients"]
    )


def simulated(draw, depths, sizes, repeats, patients, shift=0.0):
    """Scores of pairs that are all equal (but the first, by `shift`), and the patients' influence on them."""
    count = depths * sizes
    influence = draw.normal(size=(patients, 1)) + 0.5 * draw.normal(size=(patients, count))
    influence = (influence - influence.mean(0)) / patients**0.5
    of_patients = draw.multivariate_normal(np.zeros(count), influence.T @ influence, method="svd")
    of_draws = np.repeat(draw.normal(size=(sizes, repeats)), depths, axis=0)
    scores = of_patients[:, None] + of_draws + 0.5 * draw.normal(size=(count, repeats))
    scores[0] += shift
    return scores, np.repeat(np.arange(sizes), depths), influence


def test_equal_pairs_are_hardly_ever_called_behind_the_best(monkeypatch):
    monkeypatch.setattr(spread, "DRAWS", 1000)
    draw = np.random.default_rng(3)
    called = 0
    for _ in range(60):
        scores, sizes, influence = simulated(draw, 4, 3, 5, 100)
        found = spread.behind_best(scores, sizes, influence, int(scores.mean(1).argmax()), 0.95)
        called += bool(np.nanmin(found["p"]) < 0.05)
    assert called <= 6  # 3 are expected at most; 7 have a probability of 0.03 then


def test_a_pair_far_behind_is_called_and_the_interval_agrees_with_the_p_value():
    scores, sizes, influence = simulated(np.random.default_rng(4), 4, 3, 5, 100, shift=-30.0)
    best = int(scores.mean(1).argmax())
    found = spread.behind_best(scores, sizes, influence, best, 0.95)
    assert found["p"][0] < 0.001 and found["behind"][0] == pytest.approx(scores[best].mean() - scores[0].mean())
    others = np.arange(len(scores)) != best
    assert ((found["p"] < 0.05) == (found["low"] > 0))[others].all() and np.isnan(found["p"][best])


def test_one_repeat_gives_no_interval():
    found = spread.behind_best(np.array([[0.7], [0.6]]), np.array([1, 1]), np.zeros((4, 2)), 0, 0.95)
    assert found["behind"].tolist() == pytest.approx([0, 0.1]) and np.isnan(found["p"]).all()


def test_of_two_pairs_on_many_patients_the_interval_is_that_of_the_paired_t_test():
    draw = np.random.default_rng(5)
    scores = draw.normal(size=5) + draw.normal(size=(2, 5)) * 0.1 + np.array([[0.0], [0.05]])
    best = int(scores.mean(1).argmax())
    found = spread.behind_best(scores, np.array([40, 40]), np.zeros((50, 2)), best, 0.95)
    test = stats.ttest_rel(scores[best], scores[1 - best])
    low, high = test.confidence_interval(0.95)
    width = high - low
    assert found["low"][1 - best] == pytest.approx(low, abs=0.03 * width)
    assert found["high"][1 - best] == pytest.approx(high, abs=0.03 * width)
    assert found["p"][1 - best] == pytest.approx(test.pvalue, abs=0.02)
