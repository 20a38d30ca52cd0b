"""What recognising patients is worth, from predictions that know the patients and from such that do not."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from cxr.labels import LABELS, to_matrix
from cxr.metrics import leakage
from cxr.metrics.bootstrap import Resampling
from cxr.metrics.judging import BETTER, SAME, TOO_FEW

RESAMPLING = Resampling(samples=200, confidence=0.95, seed=0)
FINDINGS = ("Mass", "Effusion", "Edema")


class Study:
    """Patients with four images each, of which one or two are test images; findings mostly stay with a patient."""

    def __init__(self, patients: int = 600, seed: int = 0):
        random = np.random.default_rng(seed)
        self.random, count = random, 4 * patients
        patient = np.repeat(np.arange(patients), 4)
        often = random.random((patients, len(FINDINGS))) < 0.25
        self.has = random.random((count, len(FINDINGS))) < np.where(often[patient], 0.7, 0.05)
        tested = random.random(count) < 0.4
        half = patient % 2
        kept = ~tested & (random.random(patients) < 0.6)[patient]  # two in five patients are in no training set
        self.trained = [set(patient[kept & (half == number)]) for number in (0, 1)]
        self.labels_of = {
            one: self.has[kept & (patient == one)].mean(axis=0) for group in self.trained for one in group
        }
        self.truth = pd.DataFrame(
            {
                "image": [f"{number}.png" for number in np.flatnonzero(tested)],
                "patient": patient[tested],
                "labels": ["|".join(np.array(FINDINGS)[row]) or "No Finding" for row in self.has[tested]],
            }
        )
        self.half = np.array(["a", "b"])[half[tested]]

    def network(self, number: int, memory: float, skill: float = 1.0, offset: float = 0.0) -> np.ndarray:
        """What the network of a half says of all test images: some skill, and what it remembers of its patients' labels."""
        targets = to_matrix(self.truth["labels"]).astype(float)
        said = self.random.normal(size=targets.shape) + skill * targets + offset
        at = [LABELS.index(finding) for finding in FINDINGS]
        for row, one in enumerate(self.truth["patient"]):
            if one in self.trained[number]:
                said[row, at] += memory * self.labels_of[one]
        return 1 / (1 + np.exp(-said / 3))

    def said(self, memory: float, offset: float = 0) -> leakage.Said:
        first = self.half == "a"
        known = [self.truth["patient"].isin(group).to_numpy() for group in self.trained]
        networks = [self.network(number, memory, offset=offset * number) for number in (0, 1)]
        return leakage.Said(
            patients=self.truth["patient"].to_numpy(),
            targets=to_matrix(self.truth["labels"]).astype(float),
            stratum=first.astype(int),
            repeat=np.zeros(len(first), dtype=int),
            shared=np.where(first, *known),
            arms={leakage.NETWORK: leakage.by_arm(first, *networks)},
        )


def table(*repeats: leakage.Said) -> pd.DataFrame:
    found = leakage.leakage_table(leakage.joined(repeats), RESAMPLING)
    return found.set_index(["predictor", "subset", "arm"])


def worth(table: pd.DataFrame) -> pd.Series:
    return table.loc["network", leakage.SUBSETS_DIFFER, leakage.ARMS_DIFFER]


def test_networks_that_know_no_patient_gain_nothing():
    found = worth(table(Study().said(memory=0)))
    assert abs(found["value"]) < 0.03 and found["low"] < 0 < found["high"] and found["verdict"] == SAME


def test_networks_that_remember_their_patients_labels_gain_on_shared_images_alone():
    rows = table(Study().said(memory=3))
    found = worth(rows)
    assert found["value"] > 0.05 and found["low"] > 0 and found["verdict"] == BETTER
    shared, unshared = (rows.loc["network", name, leakage.ARMS_DIFFER] for name in (leakage.SHARED, leakage.UNSHARED))
    assert shared["verdict"] == BETTER and unshared["verdict"] == SAME
    assert found["value"] == pytest.approx(shared["value"] - unshared["value"])


def test_a_cell_is_the_auroc_within_each_half_weighted_by_pairs():
    said = Study(patients=200).said(memory=1, offset=5)  # scores of the two networks lie far apart
    row = table(said).loc["network", leakage.SHARED, leakage.IMAGE]
    assert row["labels"] == "Effusion|Mass|Edema" and "Hernia" in row["left_out"].split("|")
    values = []
    for finding in FINDINGS:
        at, pairs, won = LABELS.index(finding), [], []
        for half in (0, 1):
            here = said.shared & (said.stratum == half)
            has = said.targets[here, at]
            pairs.append(has.sum() * (1 - has).sum())
            won.append(roc_auc_score(has, said.arms["network"][leakage.IMAGE][here, at]))
        values.append(np.average(won, weights=pairs))
    assert row["value"] == pytest.approx(np.mean(values))
    assert row["images"] == said.shared.sum() and row["patients"] == len(set(said.patients[said.shared]))


def test_repeats_are_pooled_with_each_patient_once():
    study = Study(patients=200)
    repeats = [study.said(memory=2) for _ in range(3)]
    found, one = worth(table(*repeats)), worth(table(repeats[0]))
    alone = [worth(table(each))["value"] for each in repeats]
    assert found["value"] == pytest.approx(np.mean(alone))  # the same images, so the same number of pairs
    assert found["spread"] == pytest.approx(np.std(alone, ddof=1)) and np.isnan(one["spread"])
    assert found["repeats"] == 3 and found["images"] == 3 * one["images"] and found["patients"] == one["patients"]
    assert found["fewest"] == one["fewest"]


def test_few_patients_get_no_verdict():
    found = worth(table(Study(patients=24).said(memory=3)))
    assert found["fewest"] < 10 and found["verdict"] == TOO_FEW
