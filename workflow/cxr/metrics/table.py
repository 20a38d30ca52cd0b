"""The metric table: one row per score, with its floor and their difference, each with its interval."""

import numpy as np
import pandas as pd

from cxr.metrics.bootstrap import Estimate, minus
from cxr.metrics.names import of

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
    "note",
]


def metric_row(
    metric: str,
    label: str,
    score: Estimate,
    floor: Estimate | None,
    floor_name: str,
    *,
    confidence: float,
    support: int,
    note: str = "",
) -> dict[str, object]:
    """Write an estimate and its floor as a row of the metric table (``METRIC_COLUMNS`` less protocol, experiment).

    metric: one of `names.METRICS`. Without a floor, the floor's columns are
    NaN. The note gains the number of bootstrap samples in which the score is undefined.
    """
    nothing = Estimate(np.nan, np.full_like(score.samples, np.nan))
    floor = nothing if floor is None else floor
    difference = minus(score, floor)
    low, high = score.interval(confidence)
    floor_low, floor_high = floor.interval(confidence)
    difference_low, difference_high = difference.interval(confidence)
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
        "note": note,
    }


def metric_table(protocol: str, experiment: str, rows: list[dict[str, object]]) -> pd.DataFrame:
    """Gather rows of ``metric_row`` into a table with ``METRIC_COLUMNS``."""
    whole = [{"protocol": protocol, "experiment": experiment, **row} for row in rows]
    return pd.DataFrame(whole, columns=METRIC_COLUMNS)
