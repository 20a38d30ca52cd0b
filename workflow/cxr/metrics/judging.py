"""The verdict on a number: whether its difference to the floor can be told from chance.

A difference is called if two things hold: its bootstrap interval excludes 0, and its p-value, corrected for the labels of
the table, is below 1 - confidence. The p-value takes the difference over its bootstrap standard error from a t-distribution
with one degree of freedom less than there are patients who tell of the number: with few of them the percentile interval
alone is far too narrow. Patients with many images count for more, so the effective number of patients is taken
(`effective_patients`). Below `FEWEST` patients there is no verdict; below `FEW` it is marked. The benchmark
benchmarks/verdicts.py measures how often the rule calls a difference where there is none.

"Better" says more than better than the floor: the same must hold against every rung of the ladder (`p_against`). The floor is
chosen on training images, and on test images of another kind another rung can be above it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from cxr.labels import LABELS
from cxr.metrics.bootstrap import Estimate, minus

BETTER, SAME, WORSE, UNDEFINED, DESCRIPTIVE = "better", "indistinguishable", "worse", "undefined", "descriptive"
TOO_FEW = "too_few"
FEWEST, FEW = 10, 20  # patients


def effective_patients(patients: np.ndarray) -> float:
    """Return the effective number of patients, Kish's (Σ n)² / Σ n², of their numbers of images n; 0 without an image.

    patients: (N,) patient of each image that tells of the number.
    """
    counts = np.unique(patients, return_counts=True)[1].astype(np.float64)
    return float(counts.sum() ** 2 / (counts**2).sum()) if len(counts) else 0.0


def telling(*groups: np.ndarray) -> dict[str, float]:
    """Return how many patients tell of a number, as `table.metric_row` takes it: their number and their effective number.

    groups: for each of the parts that the number needs, the patient of each image of it: of a label, the images with and
    those without it. The smallest part counts; without a part, both are 0.
    """
    return {
        "patients": min((len(np.unique(each)) for each in groups), default=0),
        "effective": min((effective_patients(each) for each in groups), default=0.0),
    }


@dataclass(frozen=True)
class Against:
    """How a score is compared. patients: the effective number of those who tell of it; confidence: level of the intervals."""

    patients: float
    confidence: float
    higher_is_better: bool

    @property
    def level(self) -> float:
        """The p-value below which a difference is called."""
        return round(1 - self.confidence, 12)


def p_value(difference: Estimate, patients: float) -> float:
    """Return the two-sided p-value of a difference; NaN where it is undefined or fewer than two patients tell of it.

    patients: the effective number of those who tell of the number; of a ranking, the smaller of those with and without the
    label.
    """
    samples = difference.samples[np.isfinite(difference.samples)]
    if not np.isfinite(difference.value) or len(samples) < 2 or not patients >= 2:
        return np.nan
    error = samples.std(ddof=1) * np.sqrt(patients / (patients - 1))  # the bootstrap divides by n, a t-test by n - 1
    if error == 0:
        return float(difference.value == 0)
    return float(2 * stats.t.sf(abs(difference.value) / error, patients - 1))


def p_against(score: Estimate, floor: Estimate, rungs: Sequence[Estimate], against: Against) -> tuple[float, bool]:
    """Return the p-value of a score's difference to its floor, and whether another rung alone keeps it from being called.

    Where the interval of that difference lies on the good side of 0, it is the highest one of the differences to the floor and
    to each rung, and 1 if that is not so against a rung. So the rate of false calls stays that of one comparison (an
    intersection-union test: Berger 1982).
    """
    own = p_value(minus(score, floor), against.patients)
    if not _clear(minus(score, floor), against):
        return own, False
    differences = (minus(score, each) for each in rungs)
    others = [p_value(each, against.patients) if _clear(each, against) else 1.0 for each in differences]
    highest = max(others, default=0.0)
    return max(own, highest), bool(own < against.level <= highest)


def _good(difference: Estimate, against: Against) -> bool:
    return difference.value > 0 if against.higher_is_better else difference.value < 0


def _clear(difference: Estimate, against: Against) -> bool:
    low, high = difference.interval(against.confidence)
    return _good(difference, against) and not low <= 0 <= high


def holm(values: Sequence[float]) -> np.ndarray:
    """Correct p-values for their number by Holm's step-down procedure; those that are NaN do not count."""
    values = np.asarray(values, dtype=np.float64)
    corrected = np.full(len(values), np.nan)
    order = np.argsort(values)[: np.isfinite(values).sum()]
    corrected[order] = np.minimum(np.maximum.accumulate(values[order] * np.arange(len(order), 0, -1)), 1)
    return corrected


def correct(table: pd.DataFrame) -> pd.Series:
    """Return the p-values of a metric table, those of the labels of each metric corrected together.

    Rows with too few patients are no tests: they neither count nor get a value. A mean over labels, or a subset of the
    boxes, stands for itself.
    """
    values = table["p"].where(table["patients"] >= FEWEST)
    found = values.copy()
    labelled = table["label"].isin(LABELS)
    for _, rows in table[labelled].groupby(["protocol", "experiment", "metric"]):
        found.loc[rows.index] = holm(values.loc[rows.index].to_list())
    return found


def verdict(row: Mapping[str, object], confidence: float) -> str:
    """Return the verdict on a row of the metric table; its p_holm is there already."""
    value, low, high = (float(row[name]) for name in ("value", "difference_low", "difference_high"))
    if not row["judged"]:
        return DESCRIPTIVE
    if not np.isfinite(value) or not np.isfinite(float(row["difference"])):
        return UNDEFINED
    if not row["patients"] >= FEWEST:
        return TOO_FEW
    if not np.isfinite([low, high]).all():
        return UNDEFINED
    if low <= 0 <= high or not row["p_holm"] < round(1 - confidence, 12):
        return SAME
    return BETTER if (float(row["difference"]) > 0) == bool(row["higher_is_better"]) else WORSE
