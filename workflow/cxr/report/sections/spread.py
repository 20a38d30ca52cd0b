"""The report's section on how far the grid's scores spread, and which pairs can be told from the best."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from cxr.experiments import pair
from cxr.metrics.names import row_name
from cxr.metrics.spread import SOURCES
from cxr.report import samples
from cxr.report.figures import charts, style
from cxr.report.inputs import ReportInputs
from cxr.report.rows import pair_name
from cxr.report.verdicts import interval, number, signed

METRICS = {"gain": "Accuracy over majority", "auroc": "Mean AUROC"}


def sections(inputs: ReportInputs) -> list[dict[str, Any]]:
    """Return the page's content on each protocol: sentences, and with repeats a table and a figure."""
    return [
        {
            "protocol": protocol,
            "sentences": sentences(inputs, protocol),
            "rows": _rows(inputs.spreads[protocol]),
            "figure": _figure(inputs, protocol) if _repeats(grid) > 1 else None,
            "tested": _tested(inputs.repeats[protocol]) if _repeats(grid) > 1 and protocol in inputs.repeats else [],
        }
        for protocol, grid in inputs.grids.items()
        if protocol in inputs.spreads
    ]


def _repeats(grid: pd.DataFrame) -> int:
    return int(grid["repeats"].max())


def sentences(inputs: ReportInputs, protocol: str) -> list[str]:
    """Say how often each pair was trained, and how far the others are behind the best pair."""
    grid, pairs = inputs.grids[protocol], list(inputs.selected.get(protocol, ()))
    patients = f"{int(grid['validation_patients'].max()):,} validation patients"
    if _repeats(grid) < 2:
        return [
            f"Each pair was trained once and judged on {patients}. How far another draw of the training images, or another "
            "seed, would move the numbers is not known; the setting transfer.repeats measures it."
        ]
    best = grid[(grid["layers"] == pairs[0][0]) & (grid["size"] == pairs[0][1])].iloc[0]
    by = "gain" if inputs.settings[protocol]["transfer"]["select_by"] == "accuracy" else "auroc"
    value = (
        signed(best["accuracy"] - best["majority_accuracy"]) + " over majority"
        if by == "gain"
        else f"a mean AUROC of {number(best[by])}"
    )
    others = grid.drop(index=best.name)
    confidence = inputs.settings["evaluation"]["confidence"]
    return [
        f"Each pair was trained {_repeats(grid)} times, each time with training images and a seed of its own, and judged on "
        f"the same images of {patients}; the grid shows means.",
        f"The best pair, {pair_name(pairs[0])}, has {value} (standard deviation {best[f'{by}_sd']:.2g} between its "
        f"trainings). {_told(others, _neighbours(others, grid, best), 1 - confidence)}",
    ]


def _neighbours(others: pd.DataFrame, grid: pd.DataFrame, best: pd.Series) -> pd.DataFrame:
    """Return the pairs one step from the best along either axis of the grid."""
    steps = {}
    for axis in ("layers", "size"):
        values = sorted(grid[axis].unique())
        steps[axis] = others[axis].map(values.index) - values.index(best[axis])
    return others[steps["layers"].abs() + steps["size"].abs() == 1]


def _told(others: pd.DataFrame, neighbours: pd.DataFrame, level: float) -> str:
    if others.empty:
        return "There is no other pair."
    if others["p_behind"].isna().all():
        return "Its lead over other pairs is undefined."
    behind, near = (int((table["p_behind"] < round(level, 12)).sum()) for table in (others, neighbours))
    if not behind:
        return (
            f"None of the {len(others)} other pairs can be told from it: on these patients and with this many trainings, the "
            "choice of the pair is arbitrary."
        )
    return (
        f"{behind} of the {len(others)} other pairs are behind it by more than chance gives, among them {near} of its "
        f"{len(neighbours)} neighbours on the grid; the rest cannot be told from it."
    )


def _rows(spread: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a row per size: for each metric the standard deviations by source, with their intervals."""
    rows = []
    for size, mine in spread.groupby("size"):
        cells = [
            _cell(mine[(mine["metric"] == metric) & (mine["source"] == source)])
            for metric in METRICS
            for source in SOURCES
        ]
        rows.append({"size": f"{size:,}", "cells": cells})
    return rows


def _tested(repeats: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a row per number of the chosen pairs on the test images: mean and spread of their trainings, and the floor."""
    return [
        {
            "pair": pair_name(pair(f"transfer_{row['pair']}")),
            "name": row_name(row["metric"], "" if pd.isna(row["label"]) else row["label"]),
            "value": number(row["value"]),
            "sd": f"{row['sd']:.2g}",
            "repeats": int(row["repeats"]),
            "floor": number(row["floor"]),
            "difference": signed(row["difference"]),
            "interval": interval(row["difference_low"], row["difference_high"]),
            "images": f"{int(row['support']):,}",
            "patients": f"{int(row['patients']):,}",
            "verdict": row["verdict"],
        }
        for row in repeats.to_dict("records")
    ]


def _cell(found: pd.DataFrame) -> Mapping[str, str] | None:
    if found.empty:
        return None
    row = found.iloc[0]
    counted = (
        f"{int(row['patients']):,} patients" if row["source"] == "patients" else f"{int(row['trainings'])} trainings"
    )
    bounds = f"[{row['low']:.2g}, {row['high']:.2g}]" if pd.notna(row["low"]) else ""
    return {"value": f"{row['sd']:.2g}", "interval": bounds, "counted": counted}


def _figure(inputs: ReportInputs, protocol: str) -> dict[str, str]:
    confidence = inputs.settings["evaluation"]["confidence"]
    spread = inputs.spreads[protocol]
    return style.embedded(
        charts.spread_chart(spread.assign(panel=spread["metric"].map(METRICS))),
        f"What the grid's scores spread by, protocol {protocol}",
        f"Protocol {protocol}: standard deviation of a single training's validation score by source, with {confidence:.0%} "
        f"intervals, from {_repeats(inputs.grids[protocol])} repeats at the smallest and the largest c. Seed: other first "
        "weights and order of the same images. Images drawn: other training images of the same pool. "
        "Training: both. Patients: those of the validation images. Long intervals are cut. Validation: "
        f"{samples.of_grid(inputs.grids[protocol])}.",
    )
