"""Validity tables of the sound protocol's sigmoid baseline and of its grid CNN, with made-up numbers."""

import numpy as np
import pandas as pd

from cxr.labels import FINDINGS
from cxr.metrics.validity_rows import COLUMNS

KEY = {"protocol": "sound", "experiment": "baseline_sigmoid", "floor_name": "training prevalence"}
SIZES = {"cases": 14_000, "positives": 812, "images": 1_000, "patients": 321, "fewest": 43}
TEXTS = dict.fromkeys(("label", "comparison", "group", "note"), "")
CALIBRATION = ("brier", "reliability", "resolution", "uncertainty", "slope", "intercept")


def row(part: str, metric: str, value: float, **more: object) -> dict[str, object]:
    ends = {"value": value, "low": value - 0.02, "high": value + 0.02, "floor": 0.3, "difference": value - 0.3}
    return {**dict.fromkeys(COLUMNS, np.nan), **KEY, **TEXTS, **SIZES, **ends, "part": part, "metric": metric, **more}


def table() -> pd.DataFrame:
    """Calibration of all findings (Hernia without interval), ten bins and one of the floor, operating points of Mass and Nodule,
    and two groups of three by sex.
    """
    rows = [row("calibration", metric, 0.1, label=label) for label in ("mean14", *FINDINGS) for metric in CALIBRATION]
    few = {"low": np.nan, "high": np.nan, "fewest": 3, "note": "no interval: fewer than 10 patients"}
    rows = [each | few if each["label"] == "Hernia" else each for each in rows]
    for name in ("predicted", "observed"):
        rows += [row("bins", name, at / 40 + 0.03, label="mean14", group=str(at + 1)) for at in range(10)]
        rows.append(row("bins", f"floor_{name}", 0.1, label="mean14", group="1"))
    for held, label in ((held, label) for held in ("specificity", "sensitivity") for label in ("mean14", *FINDINGS)):
        told = {"label": label, "comparison": f"{held} 0.90"}
        value = 0.4 if label in ("mean14", "Mass", "Nodule") else np.nan
        few = (
            {} if value == 0.4 else {"note": "no number: fewer than 10 patients with or without the finding: 3 in test"}
        )
        rows += [row("operating", metric, value, **told, **few) for metric in ("sensitivity", "specificity")]
        rows += [row("operating", "threshold", value, **told, **few)] if label != "mean14" else []
    mean = {"label": "mean14", "comparison": "sex", "note": "over 2 findings: Mass, Nodule"}
    rows += [row("subgroups", "auroc", 0.71, group="M", **mean), row("subgroups", "auroc", 0.75, group="F", **mean)]
    rows.append(row("subgroups", "auroc", np.nan, **mean | {"group": "unknown", "note": "not compared"}, images=77))
    rows.append(row("subgroups", "auroc", 0.04, group="gap", **mean | {"note": "F minus M"}))
    return pd.DataFrame(rows)


def of_detector() -> pd.DataFrame:
    """F1 of the grid CNN of two groups by sex, and their gap."""
    told = {"experiment": "gridcnn", "label": "all", "comparison": "sex"}
    rows = [row("subgroups", "f1", 0.3, group=name, **told) for name in "MF"]
    return pd.DataFrame([*rows, row("subgroups", "f1", 0.0, group="gap", **told | {"note": "F minus M"})])
