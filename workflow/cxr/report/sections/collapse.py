"""The report's section on which choices collapse: sentences, table and figure from the tables of the comparison."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from cxr.report import collapse, samples
from cxr.report.figures import charts

VERDICTS = {  # verdict: (class of its chip, what such models do)
    collapse.COLLAPSED: (
        "worse",
        "the majority classifier's decisions; images ranked no better than the floor",
    ),
    collapse.HIDDEN: ("same", "the majority classifier's decisions; images ranked better than the floor"),
    collapse.GUESSING: (
        "same",
        "other decisions; images ranked no better than the floor",
    ),
    collapse.LEARNED: (
        "better",
        "other decisions; images ranked better than the floor",
    ),
}
CAPTION = (
    "Protocol {protocol}, one row per model. Left: how much the added layer's input varies between images, relative to its "
    "length. Middle: how much its logits vary between images. Right: AUROC on the test images, mean of the "
    "findings; hollow: its floor. Test images: {sample}."
)
CHOICES = {"head_input": "what the added layer reads", "frozen_batchnorm": "frozen batch norm"}


def sections(tables: Mapping[str, pd.DataFrame]) -> list[dict[str, Any]]:
    """Return the page's content on each protocol's comparison: sentences, rows, and the figure as PNG."""
    return [
        {
            "protocol": protocol,
            "sentences": sentences(table),
            "pairs": [
                (f"c = {layers}, s = {size:,}", [_row(row) for row in mine.to_dict("records")])
                for (layers, size), mine in table.groupby(["layers", "size"], sort=False)
            ],
            "picture": charts.collapse_chart(table),
            "caption": CAPTION.format(protocol=protocol, sample=_sample(table)),
        }
        for protocol, table in tables.items()
    ]


def _sample(table: pd.DataFrame) -> str:
    return samples.told(*(samples.span(table[f"test_{name}"]) for name in ("images", "patients", "positives")))


def _row(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "chip": VERDICTS[row["verdict"]][0]}


def sentences(table: pd.DataFrame) -> list[str]:
    """Return sentences: how many models had which outcome, with which choices, and medians of their input and output."""
    counts = table["verdict"].value_counts()
    told = [f"{counts[name]} “{name}” ({words})" for name, (_, words) in VERDICTS.items() if name in counts]
    found = [f"Outcomes of {len(table)} models: {', '.join(told)}."]
    collapsed = table["verdict"] == collapse.COLLAPSED
    for column, words in CHOICES.items():
        shares = [
            f"{name} {int(mine.sum())} of {len(mine)}" for name, mine in collapsed.groupby(table[column], sort=False)
        ]
        if len(shares) > 1:
            found.append(f"Collapsed, by {words}: {', '.join(shares)}.")
    before, after = (_medians(table, "head_input", f"input_spread_{when}") for when in ("before", "after"))
    found.append(
        f"Spread of the added layer's input between images, relative to its length: before training {before}; after "
        f"training {after}."
    )
    if table["reach"].notna().any():
        reach = _medians(table, "head_input", "reach")
        found.append(
            f"In its training steps, the added layer alone can move the images' logits apart by about {reach}."
        )
    found.append(
        f"Spread of the logits between images after training: {_medians(table, 'head_input', 'logit_spread_after')}."
    )
    modes = table.assign(share=table["mode_gap_after"] / table["logit_spread_after"])
    found.append(
        "Gap between training and testing mode of the same image's logit, as a multiple of that spread: "
        f"{_medians(modes, 'frozen_batchnorm', 'share')}."
    )
    return found


def _medians(table: pd.DataFrame, choice: str, column: str) -> str:
    found = table.groupby(choice, sort=False)[column].median()
    return ", ".join(f"{brief(value)} ({name})" for name, value in found.items())


def brief(value: float) -> str:
    """Write a number with two digits; "< 0.001" below that, "–" if it is not finite."""
    if not math.isfinite(value):
        return "–"
    return "< 0.001" if 0 < value < 0.001 else f"{float(f'{value:.2g}'):g}"
