"""The verdict on a difference: what it takes to be called, and when nothing is said."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cxr.labels import LABELS
from cxr.metrics import judging
from cxr.metrics.bootstrap import Estimate, bootstrap_weights, weighted_ratios
from cxr.metrics.judging import (
    BETTER,
    DESCRIPTIVE,
    SAME,
    TOO_FEW,
    UNDEFINED,
    WORSE,
    effective_patients,
    holm,
    p_value,
    verdict,
)
from cxr.metrics.table import metric_row, metric_table

ROW = {
    "value": 0.7, "difference": 0.2, "difference_low": 0.1, "difference_high": 0.3, "p_holm": 0.01, "patients": 30,
    "higher_is_better": 1, "judged": True,
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, BETTER),
        ({"higher_is_better": 0}, WORSE),
        ({"difference": -0.2, "difference_low": -0.3, "difference_high": -0.1}, WORSE),
        ({"judged": False}, DESCRIPTIVE),
        ({"p_holm": 0.05}, SAME),
        ({"p_holm": 0.049}, BETTER),
        ({"difference_low": 0}, SAME),
        ({"difference_low": -0.01}, SAME),
        ({"patients": 9}, TOO_FEW),
        ({"patients": 10}, BETTER),
        ({"value": np.nan}, UNDEFINED),
        ({"difference": np.nan}, UNDEFINED),
        ({"value": np.nan, "patients": 0}, UNDEFINED),
        ({"difference_low": np.nan}, UNDEFINED),
    ],
)
def test_a_difference_is_called_if_both_its_interval_and_its_corrected_p_value_say_so(change, expected):
    assert verdict(ROW | change, 0.95) == expected


def test_the_p_value_of_a_mean_is_that_of_the_t_test():
    values = np.random.default_rng(0).normal(0.3, 1, (15, 1))
    estimate = weighted_ratios(values, np.ones_like(values), bootstrap_weights(np.arange(15), 20_000, 0))[0]
    peer = stats.ttest_1samp(values[:, 0], 0)
    ours = stats.t.isf(p_value(estimate, 15) / 2, 14)
    assert ours == pytest.approx(abs(peer.statistic), rel=0.02)  # 0.034 apart without the factor


def test_without_spread_only_no_difference_is_no_difference():
    assert p_value(Estimate(0.0, np.zeros(9)), 9) == 1
    assert p_value(Estimate(0.1, np.full(9, 0.1)), 9) == 0
    assert np.isnan(p_value(Estimate(0.1, np.arange(9.0)), 1))
    assert np.isnan(p_value(Estimate(np.nan, np.arange(9.0)), 9))


def test_patients_with_many_images_count_for_more_so_that_fewer_tell():
    assert effective_patients(np.array([1, 2, 3, 4])) == 4
    assert effective_patients(np.array([7, 7, 8, 8])) == 2
    assert effective_patients(np.repeat([1, 2], [9, 1])) == pytest.approx(100 / 82)
    assert effective_patients(np.array([])) == 0


def test_holms_procedure_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])  # R: p.adjust, "holm"
    assert holm([0.9, 0.8]).tolist() == [1, 1]
    found = holm([np.nan, 0.02, 0.01])
    assert np.isnan(found[0]) and found[1:].tolist() == pytest.approx([0.02, 0.02])


def test_the_labels_of_a_metric_are_corrected_together_and_a_mean_by_itself():
    keys = [("auroc", label) for label in LABELS[:4]] + [("auprc", LABELS[0]), ("auroc", "mean14"), ("f1", "all")]
    table = pd.DataFrame(keys, columns=["metric", "label"]).assign(protocol="p", experiment="e", p=0.01, patients=30)
    assert judging.correct(table).tolist() == pytest.approx([0.04] * 4 + [0.01] * 3)
    few = table.assign(patients=[30, 30, 9, 9, 30, 30, 30])
    found = judging.correct(few)
    assert found[:2].tolist() == pytest.approx([0.02, 0.02]) and found[2:4].isna().all()  # no tests, so not counted
    twice = pd.concat([table, table.assign(experiment="other")], ignore_index=True)
    assert judging.correct(twice).tolist() == pytest.approx(([0.04] * 4 + [0.01] * 3) * 2)


def test_a_table_gives_each_row_its_verdict():
    draw = np.random.default_rng(0)

    def row(metric, label, gap, patients):
        samples = draw.normal(0.5, 0.02, 200)
        score = Estimate(0.5 + gap, samples + gap)
        return metric_row(
            metric,
            label,
            score,
            Estimate(0.5, samples[::-1]),
            "x",
            confidence=0.95,
            support=50,
            patients=patients,
            effective=patients,
        )

    rows = [row("auroc", "Mass", 0.3, 40), row("auroc", "Edema", 0.3, 5), row("accuracy", "", 0.3, 40)]
    table = metric_table("p", "e", [*rows, row("auroc", "Hernia", 0.0, 40), row("loss", "Mass", 0.3, 40)], 0.95)
    assert table["verdict"].tolist() == [BETTER, TOO_FEW, DESCRIPTIVE, SAME, WORSE]
    assert table["p"].notna().tolist() == [True, True, False, True, True]
    assert table["p_holm"].notna().tolist() == [True, False, False, True, True]


@pytest.mark.parametrize("metric", ["auroc", "loss"])
def test_better_means_better_than_every_rung_and_worse_means_worse_than_the_floor(metric):
    """The floor is chosen on training images: on the test images a lower rung can be above it."""
    noise, sign = np.random.default_rng(0).normal(0, 0.02, 400), 1 if metric == "auroc" else -1

    def judge(gap, rungs):
        def estimate(above, own=0.0):
            return Estimate(0.5 + sign * above, 0.5 + sign * above + noise * own)

        others = {name: estimate(above) for name, above in rungs.items()}
        row = metric_row(
            metric, "Mass", estimate(gap, 1.0), estimate(0.0), "x", confidence=0.95, support=50, patients=40, effective=40,
            rungs=others,
        )  # fmt: skip
        return metric_table("p", "e", [row], 0.95).iloc[0]

    assert judge(0.1, {})["verdict"] == judge(0.1, {"constant": 0.0, "metadata": 0.0})["verdict"] == BETTER
    for reached in (0.08, 0.1, 0.3):  # a rung that cannot be told from the score, and one that beats it
        found = judge(0.1, {"constant": reached, "metadata": 0.0})
        assert found["verdict"] == SAME and found["note"] == "another rung is as good"
        assert found["floor"] == 0.5 and found["constant"] == pytest.approx(0.5 + sign * reached)
    assert judge(0.1, {"constant": 0.04})["p"] == pytest.approx(judge(0.06, {})["p"])  # the nearest rung's
    assert judge(-0.1, {"constant": -0.3})["verdict"] == WORSE  # below the floor is below the floor
    assert judge(0.0, {"constant": 0.3})["note"] == ""  # it cannot be told from its floor as it is
    weak = judge(0.03, {"constant": 0.0})  # the floor itself, by another name: no other rung stands in the way
    assert (
        weak["verdict"] == SAME
        and weak["note"] == ""
        and weak["p"] == pytest.approx(judge(0.03, {})["p"])
        and weak["p"] < 1
    )


def test_an_auprc_is_not_held_against_a_random_ranking():
    row = metric_row(
        "auprc", "Mass", Estimate(0.3, np.linspace(0.28, 0.32, 200)), Estimate(0.1, np.full(200, 0.1)), "x",
        confidence=0.95, support=50, patients=40, effective=40, rungs={"constant": Estimate(0.4, np.full(200, 0.4))},
    )  # fmt: skip
    assert metric_table("p", "e", [row], 0.95)["verdict"].tolist() == [BETTER]
