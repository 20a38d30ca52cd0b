"""The report's section on the validity of a model: calibration, reliability figure, operating points, and subgroups."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from cxr.experiments import Experiment, pair
from cxr.labels import FINDINGS
from cxr.metrics.names import label_name
from cxr.metrics.operating_points import HELD_AT, RATES, SENSITIVITY, SPECIFICITY
from cxr.metrics.subgroups import GAP
from cxr.metrics.validity_rows import BINS, CALIBRATION, OPERATING, POOLED, SUBGROUPS
from cxr.report.figures import charts, style
from cxr.report.inputs import ReportInputs
from cxr.report.rows import pair_name
from cxr.report.verdicts import interval, number, signed

MEASURES = {  # metric of the calibration, its heading
    "brier": "Brier score",
    "reliability": "Reliability",
    "resolution": "Resolution",
    "uncertainty": "Uncertainty",
    "slope": "Slope",
    "intercept": "Intercept",
}
SOFTMAX = (
    "Not computed for a softmax: its 15 outputs sum to 1, while an image may have several labels, so that none of them is the "
    "probability of a finding."
)


def section(inputs: ReportInputs, about: Experiment) -> dict[str, Any] | None:
    """Return the page's content on a model's validity; None where nothing was measured. Of a detector, the subgroups alone."""
    classifier = about.kind == "classifier"
    if about.name == "baseline_softmax":
        return {"reason": SOFTMAX, "parts": [], "classifier": classifier}
    parts = [_part(inputs, *key) for key in inputs.experiments_of(about.name)]
    parts = [part for part in parts if part]
    return {"reason": "", "parts": parts, "classifier": classifier} if parts else None


def _part(inputs: ReportInputs, protocol: str, experiment: str) -> dict[str, Any] | None:
    table = inputs.validity
    table = table[(table["protocol"] == protocol) & (table["experiment"] == experiment)]
    if table.empty:
        return None
    chosen = pair(experiment)
    return part_of(table, "Protocol " + (f"{protocol}, {pair_name(chosen)}" if chosen else protocol))


def part_of(table: pd.DataFrame, title: str) -> dict[str, Any]:
    """Return the content of a validity table of one model, for the macro `validity_part`; title: of its figure."""
    calibration, points = table[table["part"] == CALIBRATION], table[table["part"] == OPERATING]
    groups = table[table["part"] == SUBGROUPS].to_dict("records")
    return {
        "title": title,
        "measures": list(MEASURES.values()),
        "calibration": list(_calibration(calibration)) if len(calibration) else [],
        "notes": _notes(calibration) if len(calibration) else [],
        "figure": _figure(table, title) if (table["part"] == BINS).any() else None,
        "points": list(_points(points)),
        "without_point": _without_point(points),
        "measure": "F1 of areas" if groups and groups[0]["metric"] == "f1" else "Mean AUROC",
        "groups": [_group(row) for row in groups],
    }


def _calibration(rows: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for label in (POOLED, *FINDINGS):
        found = {row["metric"]: row for row in rows[rows["label"] == label].to_dict("records")}
        if not found:
            continue
        sizes = next(iter(found.values()))
        yield {
            "label": "All findings pooled" if label == POOLED else label_name(label),
            "pooled": label == POOLED,
            "cells": [_cell(found[metric]) for metric in MEASURES],
            **_sizes(sizes),
        }


def _notes(rows: pd.DataFrame) -> list[str]:
    """Say which findings have no interval, and the floor of the pooled row."""
    pooled, few = rows[rows["label"] == POOLED], rows[rows["note"].str.startswith("no interval")]
    names = ", ".join(map(label_name, few["label"].unique()))
    notes = [f"Floor of the pooled row: {name}." for name in pooled["floor_name"].head(1)]
    return [*notes, *([f"No interval, for want of 10 patients with or without the finding: {names}."] if names else [])]


def _points(rows: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """One row per finding that has an operating point, the mean first: what is held in validation, and the other rate."""
    named = rows[rows["value"].notna() & rows["metric"].isin(RATES)]
    for label in (POOLED, *FINDINGS):
        found = {(row["comparison"], row["metric"]): row for row in named[named["label"] == label].to_dict("records")}
        if found:
            pairs = ((SPECIFICITY, SENSITIVITY), (SENSITIVITY, SPECIFICITY))
            cells = [_cell(found[HELD_AT[held], rate]) for held, other in pairs for rate in (other, held)]
            yield {
                "label": "Mean" if label == POOLED else label_name(label),
                "pooled": label == POOLED,
                "cells": cells,
                **_sizes(next(iter(found.values()))),
            }


def _without_point(rows: pd.DataFrame) -> str:
    """Name the findings without an operating point, each with the numbers of patients that are too low."""
    few = rows[rows["note"].str.startswith("no number")].drop_duplicates("label")
    return "; ".join(
        f"{label_name(label)} ({note.rpartition(': ')[2]})"
        for label, note in zip(few["label"], few["note"], strict=True)
    )


def _cell(row: dict[str, Any]) -> dict[str, str]:
    return {
        "value": number(row["value"]) or "undefined",
        "interval": interval(row["low"], row["high"]),
        "floor": number(row["floor"]) or "undefined",
        "floor_interval": interval(row["floor_low"], row["floor_high"]),
        "floor_name": row["floor_name"],
        "difference": signed(row["difference"]),
        "difference_interval": interval(row["difference_low"], row["difference_high"]),
    }


def _sizes(row: dict[str, Any]) -> dict[str, str]:
    return {name: f"{int(row[name]):,}" for name in ("positives", "images", "patients", "fewest")}


def _group(row: dict[str, Any]) -> dict[str, Any]:
    gap = row["group"] == GAP
    name = "largest minus smallest" if gap else row["group"]
    defined = bool(number(row["value"]))
    return {"comparison": row["comparison"], "name": name, "gap": gap, "defined": defined, "note": row["note"]} | {
        **_cell(row),
        **_sizes(row),
    }


def _figure(table: pd.DataFrame, title: str) -> dict[str, str]:
    bins, pooled = (
        table[table["part"] == BINS],
        table[(table["part"] == CALIBRATION) & (table["label"] == POOLED)].iloc[0],
    )
    return style.embedded(
        charts.reliability_chart(bins),
        f"Reliability, {title}",
        f"{title}: share of the image–finding pairs that have the finding, against the mean predicted probability, in "
        f"ten bins of equal counts, with intervals by patient. Hollow: the floor, in bins of its own ({pooled['floor_name']}). "
        f"Dashed: right probabilities. {int(pooled['cases']):,} pairs of {int(pooled['images']):,} images of "
        f"{int(pooled['patients']):,} patients; {int(pooled['positives']):,} pairs are positive.",
    )
