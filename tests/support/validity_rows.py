"""A validity table of the sound protocol's sigmoid baseline, with made-up numbers."""

import numpy as np
import pandas as pd

from cxr.labels import FINDINGS
from cxr.metrics.validity import COLUMNS

KEY = {"protocol": "sound", "experiment": "baseline_sigmoid", "floor_name": "training prevalence"}
SIZES = {"cases": 14_000, "positives": 812, "images": 1_000, "patients": 321, "fewest": 43}
TEXTS = dict.fromkeys(("label", "comparison", "group", "note"), "")
CALIBRATION = ("brier", "reliability", "resolution", "uncertainty", "slope", "intercept")


def row(part: str, metric: str, value: float, **more: object) -> dict[str, object]:
    ends = {"value": value, "low": value - 0.02, "high": value + 0.02, "floor": 0.3, "difference": value - 0.3}
    return {**dict.fromkeys(COLUMNS, np.nan), **KEY, **TEXTS, **SIZES, **ends, "part": part, "metric": metric, **more}


def table() -> pd.DataFrame:
    """Calibration of all findings (Hernia without interval), ten bins and one of the floor, and two groups of three by sex."""
    rows = [row("calibration", metric, 0.1, label=label) for label in ("mean14", *FINDINGS) for metric in CALIBRATION]
    few = {"low": np.nan, "high": np.nan, "fewest": 3, "note": "no interval: fewer than 10 patients"}
    rows = [each | few if each["label"] == "Hernia" else each for each in rows]
    for name in ("predicted", "observed"):
        rows += [row("bins", name, at / 40 + 0.03, label="mean14", group=str(at + 1)) for at in range(10)]
        rows.append(row("bins", f"floor_{name}", 0.1, label="mean14", group="1"))
    mean = {"label": "mean14", "comparison": "sex", "note": "over 2 findings: Mass, Nodule"}
    rows += [row("subgroups", "auroc", 0.71, group="M", **mean), row("subgroups", "auroc", 0.75, group="F", **mean)]
    rows.append(row("subgroups", "auroc", np.nan, **mean | {"group": "unknown", "note": "not compared"}, images=77))
    rows.append(row("subgroups", "auroc", 0.04, group="gap", **mean | {"note": "F minus M"}))
    return pd.DataFrame(rows)
