"""The report's section on which choices collapse: sentences, table and figure from the tables of the comparison."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from cxr import comparison, figures

VERDICTS = {  # verdict: (class of its chip, what such a model does)
    comparison.COLLAPSED: (
        "worse",
        "collapsed: decides as the majority classifier and ranks images no better than chance",
    ),
    comparison.HIDDEN: ("same", "ranks only: better than chance, but no decision at 0.5 shows it"),
    comparison.GUESSING: ("same", "guesses: decides otherwise, and ranks images no better than chance"),
    comparison.LEARNED: ("better", "learned: decides otherwise, and ranks images better than chance"),
}
CAPTION = (
    "Protocol {protocol}: what the added layer of each model is given (how far its input changes from image to image, "
    "relative to its length), what it makes of it (how far its logits change), and what that is worth on the test images."
)
CHOICES = {"head_input": "added layer on", "frozen_batchnorm": "frozen batch norm"}


def sections(tables: Mapping[str, pd.DataFrame]) -> list[dict[str, Any]]:
    """Return what the page shows of each protocol's comparison: sentences, rows, and the figure as PNG."""
    return [
        {
            "protocol": protocol,
            "sentences": sentences(table),
            "pairs": [
                (f"c = {layers}, s = {size:,}", [_row(row) for row in mine.to_dict("records")])
                for (layers, size), mine in table.groupby(["layers", "size"], sort=False)
            ],
            "picture": figures.collapse_chart(table),
        }
        for protocol, table in tables.items()
    ]


def _row(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "chip": VERDICTS[row["verdict"]][0]}


def sentences(table: pd.DataFrame) -> list[str]:
    """Say how many models came to what, and with which choices, of which one alone decides; computed from the table."""
    counts = table["verdict"].value_counts()
    told = [f"{counts[name]} {words}" for name, (_, words) in VERDICTS.items() if name in counts]
    found = [f"Of {len(table)} models, {'; '.join(told)}."]
    for column, words in CHOICES.items():
        shares = [
            f"{value}: {int((mine['verdict'] == comparison.COLLAPSED).sum())} of {len(mine)}"
            for value, mine in table.groupby(column, sort=False)
        ]
        if len(shares) > 1:
            found.append(f"Collapsed by {words}: {', '.join(shares)}.")
    return [*found, *_reasons(table)]


def _reasons(table: pd.DataFrame) -> list[str]:
    """Say, in medians over the models of a choice, what the added layer is given, and how far its two modes differ."""
    modes = table.assign(share=table["mode_gap_after"] / table["logit_spread_after"])
    given = [_medians(table, "head_input", f"input_spread_{when}") for when in ("before", "after")]
    found = [
        f"The added layer's input changes from image to image by {given[0]} of its length; after training by {given[1]}."
    ]
    if table["reach"].notna().any():
        reach = _medians(table, "head_input", "reach")
        found.append(f"In the steps it has, the layer alone can move the images' logits apart by about {reach}.")
    found.append(f"After training they differ by {_medians(table, 'head_input', 'logit_spread_after')}.")
    found.append(
        "A logit of one and the same image differs between training and testing mode by so many times that: "
        f"{_medians(modes, 'frozen_batchnorm', 'share')}."
    )
    return found


def _medians(table: pd.DataFrame, choice: str, column: str) -> str:
    found = table.groupby(choice, sort=False)[column].median()
    return ", ".join(f"{value:.2g} ({name})" for name, value in found.items())
