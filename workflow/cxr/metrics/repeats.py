"""Test scores of a pair over several draws of its training images: their mean and spread, beside their floors."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from cxr.labels import LABELS
from cxr.metrics import judging
from cxr.metrics.ladder import RUNGS
from cxr.metrics.names import of
from cxr.metrics.table import can_be_judged

REPEAT_COLUMNS = [
    "protocol", "pair", "metric", "label", "repeats", "value", "sd", "floor", "difference", "difference_low",
    "difference_high", "support", "patients", "verdict",
]  # fmt: skip


def write(tables: Sequence[Path], *, pairs: Sequence[str], confidence: float, table: Path) -> None:
    """Write what the metric tables of each pair's repeats have in common.

    tables: of the metrics of all repeats, those of a pair one after the other. pairs: their names, in the same order.
    """
    repeats = len(tables) // max(len(pairs), 1)
    of_pairs = [tables[start : start + repeats] for start in range(0, len(tables), repeats)] if pairs else []
    found = [
        row
        for pair, paths in zip(pairs, of_pairs, strict=True)
        for row in summary([pd.read_csv(path) for path in paths], pair, confidence)
    ]
    pd.DataFrame(found, columns=REPEAT_COLUMNS).to_csv(table, index=False, float_format="%.6g")


def summary(tables: Sequence[pd.DataFrame], pair: str, confidence: float) -> list[dict[str, object]]:
    """Return a row per number that is judged and not of a single label: columns ``REPEAT_COLUMNS``.

    tables: metric tables of the trainings of one pair, on the same test images, each beside the floor of its own training
    images. A number that one of them leaves undefined, or does not judge, is left out. The standard error of the mean
    difference joins the spread between trainings with the bootstrap's error by patients, which all trainings share; degrees
    of freedom by Welch and Satterthwaite, from the effective number of patients. A number is better only if it is so against
    every rung of the ladder; the error of the difference to the floor stands for those to the others. With one training, its
    own interval stands, and says nothing of the spread.
    """
    rows = []
    everything = pd.concat(tables).fillna({"label": ""})
    wanted = (everything["verdict"] != judging.DESCRIPTIVE) & ~everything["label"].isin(LABELS)
    for (metric, label), each in everything[wanted].groupby(["metric", "label"], sort=False):
        if len(each) != len(tables) or each["difference"].isna().any():
            continue
        higher = of(str(metric)).higher_is_better
        low, high, p = _difference(each, higher, confidence)
        row = {
            **each.iloc[0][["protocol", "support", "patients"]].to_dict(),
            "metric": metric,
            "label": label,
            "pair": pair,
            "repeats": len(each),
            "value": each["value"].mean(),
            "sd": float(each["value"].std(ddof=1)),
            "floor": each["floor"].mean(),
            "difference": each["difference"].mean(),
            "difference_low": low,
            "difference_high": high,
        }
        test = {**row, "judged": True, "p_holm": p, "higher_is_better": higher}
        rows.append({**row, "verdict": judging.verdict(test, confidence)})
    return rows


def _difference(each: pd.DataFrame, higher: bool, confidence: float) -> tuple[float, float, float]:
    """Return interval and p-value of the mean difference of several trainings to their floors, or to a nearer rung."""
    if len(each) == 1:
        only = each.iloc[0]
        return only["difference_low"], only["difference_high"], only["p"]
    mean, repeats, patients = each["difference"].mean(), len(each), float(each["effective"].iloc[0])
    by_training = each["difference"].var(ddof=1) / repeats
    width = (each["difference_high"] - each["difference_low"]).mean() / (2 * stats.norm.ppf((1 + confidence) / 2))
    by_patient = width**2
    variance = by_training + by_patient
    if not variance > 0:
        return mean, mean, float(mean == 0)
    degrees = degrees_of_freedom(by_training, repeats, by_patient, patients)
    margin = stats.t.ppf((1 + confidence) / 2, degrees) * np.sqrt(variance)
    nearest = _nearest(each, higher) if (mean > 0) == higher else abs(mean)
    p = float(2 * stats.t.sf(nearest / np.sqrt(variance), degrees)) if nearest > 0 else 1.0
    return mean - margin, mean + margin, p


def degrees_of_freedom(by_training: float, repeats: int, by_patient: float, patients: float) -> float:
    """Return those of the sum of two variances of a mean (Welch, Satterthwaite): between trainings, and by patient.

    patients: the effective number of those who tell of it. The sum is above 0.
    """
    whole = (by_training + by_patient) ** 2
    return whole / (by_training**2 / (repeats - 1) + by_patient**2 / max(patients - 1, 1))


def _nearest(each: pd.DataFrame, higher: bool) -> float:
    """Return by how much the mean is on the good side of its floor and of every rung; negative where one is better."""
    contenders = [rung for rung in RUNGS if rung in each and can_be_judged(str(each["metric"].iloc[0]), rung)]
    gaps = each[["value"]].to_numpy() - each[["floor", *contenders]].to_numpy(np.float64)
    return float(np.nanmin(gaps.mean(axis=0) * (1 if higher else -1)))
