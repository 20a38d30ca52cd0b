"""The metric table: one row per score, with its floor and their difference, each with its interval, and the verdict."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from cxr.metrics import judging
from cxr.metrics.bootstrap import Estimate, minus
from cxr.metrics.ladder import CONSTANT, RUNGS
from cxr.metrics.names import judged, of

RUNG_COLUMNS = [*RUNGS]
METRIC_COLUMNS = [
    "protocol",
    "experiment",
    "metric",
    "label",
    "value",
    "low",
    "high",
    "floor",
    "floor_low",
    "floor_high",
    "floor_name",
    "difference",
    "difference_low",
    "difference_high",
    "higher_is_better",
    "support",
    "patients",
    "effective",
    "p",
    "p_holm",
    "verdict",
    *RUNG_COLUMNS,
    "note",
]
Row = dict[str, object]


def can_be_judged(metric: str, rung: str) -> bool:
    """Tell whether a rule of verdicts holds against a rung: an AUPRC against a constant is too skewed for one."""
    return metric != "auprc" or rung != CONSTANT


def metric_row(
    metric: str,
    label: str,
    score: Estimate,
    floor: Estimate | None,
    floor_name: str,
    *,
    confidence: float,
    support: int,
    patients: int,
    effective: float,
    judgeable: bool = True,
    note: str = "",
    rungs: Mapping[str, Estimate] | None = None,
) -> Row:
    """Write an estimate and its floor as a row of the metric table, less the columns that `metric_table` adds.

    metric: one of `names.METRICS`. support: number of images or boxes behind the score. patients: how many tell of it;
    effective: their effective number (`judging.effective_patients`). judgeable: whether the rule of verdicts holds for this
    pair of score and floor. rungs: what the image-free predictors of each rung score, for the numbers that have a ladder; a
    score is called better only if it is so against each (`judging.p_against`). Without a floor, the floor's columns are NaN. The
    note gains the number of bootstrap samples in which the score is undefined.
    """
    rungs = rungs or {}
    nothing = Estimate(np.nan, np.full_like(score.samples, np.nan))
    floor = nothing if floor is None else floor
    difference = minus(score, floor)
    low, high = score.interval(confidence)
    floor_low, floor_high = floor.interval(confidence)
    difference_low, difference_high = difference.interval(confidence)
    p = np.nan
    if judgeable := judgeable and judged(metric, label):
        contenders = [each for rung, each in rungs.items() if can_be_judged(metric, rung)]
        against = judging.Against(effective, confidence, of(metric).higher_is_better)
        p, rung_as_good = judging.p_against(score, floor, contenders, against)
        if rung_as_good:
            note = "; ".join(filter(None, [note, "another rung is as good"]))
    undefined = int(np.isnan(score.samples).sum())
    if undefined and np.isfinite(score.value):
        note = "; ".join(filter(None, [note, f"undefined in {undefined} of {len(score.samples)} resamples"]))
    return {
        "metric": metric,
        "label": label,
        "value": score.value,
        "low": low,
        "high": high,
        "floor": floor.value,
        "floor_low": floor_low,
        "floor_high": floor_high,
        "floor_name": floor_name,
        "difference": difference.value,
        "difference_low": difference_low,
        "difference_high": difference_high,
        "higher_is_better": int(of(metric).higher_is_better),
        "support": support,
        "patients": patients,
        "effective": effective,
        "judged": judgeable,
        "p": p,
        **{name: rungs[name].value if name in rungs else np.nan for name in RUNG_COLUMNS},
        "note": note,
    }


def metric_table(protocol: str, experiment: str, rows: list[Row], confidence: float) -> pd.DataFrame:
    """Gather rows of ``metric_row`` into a table with ``METRIC_COLUMNS``: corrects the p-values and gives the verdicts."""
    table = pd.DataFrame([{"protocol": protocol, "experiment": experiment, **row} for row in rows])
    table["p_holm"] = judging.correct(table)
    table["verdict"] = [judging.verdict(row, confidence) for row in table.to_dict("records")]
    return table[METRIC_COLUMNS]
