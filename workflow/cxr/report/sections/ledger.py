"""The report's section on what became of each claim of the paper."""

from itertools import groupby
from typing import Any

import pandas as pd

from cxr.experiments import TITLES
from cxr.report import ledger
from cxr.report.inputs import ReportInputs
from cxr.report.rows import pair_name
from cxr.report.rulings import EXPLAINED, NOT_REPRODUCED, REPRODUCED, UNCHECKED
from cxr.report.verdicts import interval, missing, number, signed

CHIPS = {REPRODUCED: "better", EXPLAINED: "same", NOT_REPRODUCED: "worse", UNCHECKED: "undefined"}


def section(inputs: ReportInputs, table: pd.DataFrame) -> dict[str, Any]:
    """Return the page's content. table: the ledger (`ledger.table`)."""
    rows = table.to_dict("records")
    differing = sorted({each for row in rows for each in row["conditions"].split("; ") if each})
    return {
        "summary": _summary(table),
        "conditions": ", ".join(differing),
        "unexplained": ledger.unexplained(inputs),
        "leads": [_lead(each) for each in ledger.leads(inputs)],
        "groups": [
            (TITLES.get(name, "Data"), [_claim([*each]) for _, each in groupby(mine, lambda row: row["claim"])])
            for name, mine in groupby(rows, lambda row: row["experiment"])
        ],
    }


def _lead(found: dict[str, Any]) -> dict[str, str]:
    """Return a lead of a best pair beside chance and the paper's."""
    row = found["row"]
    return {
        **{name: found[name] for name in ("scope", "accuracy")},
        "best": signed(row["best"]) or "0",
        "pair": pair_name((row["layers"], row["size"])),
        "pairs": f"{row['pairs']:,}",
        "sample": f"{row['validation_images']:,} images, {row['validation_patients']:,} patients",
        "chance": number(row["chance"]),
        "high": number(row["high"]),
        "p": f"{row['p']:.3f}",
        "paper": "" if found["paper"] is None else signed(found["paper"]),
        "rest": "" if found["rest"] is None else signed(found["rest"]) or "0",
    }


def _summary(table: pd.DataFrame) -> str:
    counts = table["verdict"].value_counts()
    told = ", ".join(f"{counts.get(verdict, 0)} {verdict}" for verdict in CHIPS)
    return f"{len(table)} rows on {table['claim'].nunique()} sentences of the paper: {told}."


def _claim(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a sentence of the paper with the rows that check it."""
    return {"section": rows[0]["section"], "words": rows[0]["claim"], "rows": [_row(row) for row in rows]}


def _row(row: dict[str, Any]) -> dict[str, Any]:
    ours, floor = (
        {"value": _number(row[name]), "interval": interval(row[f"{before}low"], row[f"{before}high"])}
        for name, before in (("value", ""), ("floor", "floor_"))
    )
    return {
        "measured": row["measured"],
        "paper": row["paper"],
        "ours": ours,
        "note": "" if missing(row["note"]) else row["note"],
        "sample": "" if missing(row["images"]) else f"{int(row['images']):,} images, {int(row['patients']):,} patients",
        "floor": floor,
        "floor_name": "" if missing(row["floor_name"]) else row["floor_name"],
        "verdict": row["verdict"],
        "chip": CHIPS[row["verdict"]],
        "why": row["why"],
    }


def _number(value: Any) -> str:
    """Write a count without decimals."""
    whole = not missing(value) and value > 1 and float(value).is_integer()
    return f"{int(value):,}" if whole else number(value)
