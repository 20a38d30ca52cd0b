"""Rows of the tables paper / ours / floor: the same number of the same experiment under each protocol."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cxr.experiments import TITLES, family, pair
from cxr.metrics.names import judged, metric_name, row_name
from cxr.report import paper
from cxr.report.inputs import ReportInputs
from cxr.report.verdicts import cell_texts

RANKS = ("1st", "2nd", "3rd")
SUBSETS = {  # headings of a detector's table
    "all": "All boxes",
    "large_both": "Large boxes: w > 384 and h > 256",
    "large_either": "Large boxes in either orientation: w > 384 and h > 256, or w > 256 and h > 384",
    "large_area": "Large boxes by area: w × h > 384 × 256",
    "mean8": "Told which finding to look for",
}


@dataclass(frozen=True)
class Row:
    """One number of one experiment under each protocol; transfer pairs are matched by rank.

    family, rank: experiment of the paper, and (transfer only) rank of the pair, from 0. cells: protocol → metric row or
    None. experiments: protocol → experiment, or None.
    """

    family: str
    rank: int
    metric: str
    label: str
    cells: dict[str, dict[str, Any] | None]
    experiments: dict[str, str | None]

    @property
    def judged(self) -> bool:
        return judged(self.metric, self.label)

    @property
    def pair(self) -> str:
        return f"{rank_name(self.rank)} pair" if self.family == "transfer" else ""


def make_row(inputs: ReportInputs, family: str, rank: int, metric: str, label: str) -> Row:
    """Look a number up under every protocol; rank: of the transfer pair, from 0."""
    experiments = {protocol: inputs.experiment_of(protocol, family, rank) for protocol in inputs.protocols}
    cells = {
        protocol: None if name is None else inputs.metric(protocol, name, metric, label)
        for protocol, name in experiments.items()
    }
    return Row(family, rank, metric, label, cells, experiments)


def _shown(row: Row, named_label: bool = True) -> dict[str, Any]:
    """Prepare a row for the page; named_label: include the label in its name, if no heading shows it."""
    cells = {protocol: {**(cell_texts(cell) or {}), "missing": cell is None} for protocol, cell in row.cells.items()}
    return {
        "name": row_name(row.metric, row.label) if named_label else metric_name(row.metric),
        "cells": cells,
        "paper": in_paper(row),
        "lower": any(cell.get("lower") for cell in cells.values()),
    }


def in_paper(row: Row) -> dict[str, str] | None:
    """Return what the paper prints for a row; its first pair corresponds to our first, and so on."""
    name = row.family
    if row.family == "transfer" and row.rank < len(paper.TRANSFER_PAIRS):
        name = "transfer_c{}_s{}".format(*paper.TRANSFER_PAIRS[row.rank])
    entry = paper.number(name, row.metric, row.label)
    if entry is None or (row.family == "transfer" and row.rank >= len(paper.TRANSFER_PAIRS)):
        return None
    digits = "" if math.isnan(entry.value) else f"{entry.value:.4g}".replace("-", "−")
    printed = "" if entry.printed == digits else f"“{entry.printed}”, "
    return {
        "value": digits or entry.printed,
        "small": (printed if digits else "") + entry.where,
        "reading": entry.reading,
    }


def groups(inputs: ReportInputs, rows: Sequence[Row], by_subset: bool = False) -> list[dict[str, Any]]:
    """Group rows for the page by experiment, transfer by pair.

    by_subset: group by subset of the boxes (all, and the three readings of large) instead.
    """
    skipped: dict[str, list[str]] = {}
    for (protocol, experiment), reason in inputs.skipped.items():
        skipped.setdefault(family(experiment), []).append(f"{protocol}: {reason}")
    keys = [(row.family, row.rank, SUBSETS.get(row.label, "") if by_subset else "") for row in rows]
    return [
        {
            "family": name,
            "title": subset or (TITLES[name] if name != "transfer" else f"Transfer, {rank_name(rank)} pair"),
            "subset": subset,
            "pairs": _pairs_of_rank(inputs, rank) if name == "transfer" else "",
            "rows": [
                _shown(row, named_label=not subset)
                for row, key in zip(rows, keys, strict=True)
                if key == (name, rank, subset)
            ],
            "skipped": skipped.get(name, []),
        }
        for name, rank, subset in dict.fromkeys(keys)
    ]


def _pairs_of_rank(inputs: ReportInputs, rank: int) -> str:
    """Name the pairs of one rank: the paper's (c, s), and that of each protocol."""
    found = [("in the paper", paper.TRANSFER_PAIRS[rank])] if rank < len(paper.TRANSFER_PAIRS) else []
    for protocol in inputs.protocols:
        chosen = pair(inputs.experiment_of(protocol, "transfer", rank) or "")
        found += [(f"protocol {protocol}", chosen)] if chosen else []
    return "; ".join(f"{who}: {pair_name(each)}" for who, each in found)


def pair_name(pair: tuple[int, int]) -> str:
    """Write a pair (c, s) so that no line breaks within it."""
    return f"c = {pair[0]}, s = {pair[1]:,}".replace(" = ", "\u00a0=\u00a0")


def rank_name(index: int) -> str:
    """Write a rank, counted from 0: ``1st``."""
    return RANKS[index] if index < len(RANKS) else f"{index + 1}th"
