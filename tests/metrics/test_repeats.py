"""Several trainings of a pair: mean, spread, and an interval that holds both the trainings and the patients."""

import numpy as np
import pandas as pd
import pytest

from cxr.metrics import repeats


def metrics(difference, low, high, metric="auroc", label="mean14", patients=100, **more):
    row = {
        "protocol": "sound", "experiment": "transfer_c2_s40", "metric": metric, "label": label, "value": 0.6 + difference,
        "floor": 0.6, "difference": difference, "difference_low": low, "difference_high": high, "support": 300,
        "patients": patients, "effective": patients, "p": 0.2, "verdict": "indistinguishable",
    }  # fmt: skip
    return pd.DataFrame([row | more])


def test_a_number_is_the_mean_of_its_trainings_with_an_interval_for_both_sources():
    (row,) = repeats.summary(
        [metrics(0.03, 0.02, 0.04), metrics(0.04, 0.03, 0.05), metrics(0.05, 0.04, 0.06)], "c2_s40", 0.95
    )
    assert (row["value"], row["sd"], row["floor"]) == pytest.approx((0.64, 0.01, 0.6))
    error = np.sqrt(0.01**2 / 3 + (0.02 / (2 * 1.959964)) ** 2)
    width = (row["difference_high"] - row["difference_low"]) / 2
    assert row["difference"] == pytest.approx(0.04) and width > 1.96 * error, (
        "few trainings: more than a normal's width"
    )
    assert row["repeats"] == 3 and row["verdict"] == "better"


def test_trainings_that_disagree_give_no_verdict_although_each_of_them_does():
    each = [metrics(0.04, 0.03, 0.05, verdict="better"), metrics(-0.03, -0.04, -0.02, verdict="worse")]
    (row,) = repeats.summary(each, "c2_s40", 0.95)
    assert row["verdict"] == "indistinguishable" and row["difference_low"] < 0 < row["difference_high"]


@pytest.mark.parametrize("metric", ["loss", "auroc"])
def test_a_lower_loss_is_better(metric):
    each = [metrics(-0.04, -0.05, -0.03, metric=metric), metrics(-0.041, -0.05, -0.03, metric=metric)]
    (row,) = repeats.summary(each, "c2_s40", 0.95)
    assert row["verdict"] == {"loss": "better", "auroc": "worse"}[metric]


def test_the_degrees_of_freedom_are_those_of_the_effective_number_of_patients():
    many, few = (repeats.summary([metrics(0.04, 0.02, 0.06, effective=n)] * 2, "c2", 0.95)[0] for n in (100, 3))
    assert few["difference_high"] - few["difference"] > 1.5 * (many["difference_high"] - many["difference"])


@pytest.mark.parametrize(
    ("reached", "expected"), [(0.60, "better"), (0.635, "indistinguishable"), (0.7, "indistinguishable")]
)
def test_better_is_better_than_every_rung(reached, expected):
    each = [metrics(0.04, 0.03, 0.05, constant=0.5, metadata=reached)] * 2
    assert repeats.summary(each, "c2_s40", 0.95)[0]["verdict"] == expected
    each = [metrics(-0.04, -0.05, -0.03, metric="loss", constant=0.7, metadata=1.2 - reached)] * 2
    assert repeats.summary(each, "c2_s40", 0.95)[0]["verdict"] == expected
    each = [metrics(0.04, 0.03, 0.05, metric="auprc", constant=0.9)] * 2
    assert repeats.summary(each, "c2_s40", 0.95)[0]["verdict"] == "better", "a random ranking is no contender"


def test_few_patients_labels_descriptive_and_undefined_numbers_get_no_verdict():
    few = [metrics(0.04, 0.03, 0.05, patients=9)] * 2
    assert [row["verdict"] for row in repeats.summary(few, "c2_s40", 0.95)] == ["too_few"]
    for other in (
        metrics(0.04, 0.03, 0.05, label="Mass"),
        metrics(0.04, 0.03, 0.05, verdict="descriptive"),
        metrics(np.nan, np.nan, np.nan),
    ):
        assert repeats.summary([other] * 2, "c2_s40", 0.95) == []


def test_one_training_keeps_its_own_interval():
    (row,) = repeats.summary([metrics(0.02, -0.01, 0.05)], "c2_s40", 0.95)
    assert (row["difference_low"], row["difference_high"]) == (-0.01, 0.05) and np.isnan(row["sd"])


def test_the_tables_of_a_pair_are_those_after_each_other(tmp_path):
    paths = []
    for number, difference in enumerate((0.01, 0.03, 0.5, 0.7)):
        paths.append(tmp_path / f"{number}.csv")
        metrics(difference, difference - 0.01, difference + 0.01).to_csv(paths[-1], index=False)
    repeats.write(paths, pairs=["c0_s40", "c2_s40"], confidence=0.95, table=tmp_path / "repeats.csv")
    found = pd.read_csv(tmp_path / "repeats.csv")
    assert found["pair"].tolist() == ["c0_s40", "c2_s40"]
    assert found["difference"].tolist() == pytest.approx([0.02, 0.6]) and found["repeats"].tolist() == [2, 2]
