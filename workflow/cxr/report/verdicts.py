"""How the report writes a number beside its floor: digits, intervals, and the verdict on their difference."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from cxr.metrics.judging import BETTER, DESCRIPTIVE, FEW, SAME, TOO_FEW, UNDEFINED, WORSE

RUNGS = {"constant": "constant", "metadata": "metadata", "history": "with history"}
VERDICTS = {  # sign and word of a chip under the heading "against floor"
    BETTER: ("▲", "better"),
    SAME: ("≈", "indistinguishable"),
    WORSE: ("▼", "worse"),
    UNDEFINED: ("–", "undefined"),
    DESCRIPTIVE: ("·", "not judged"),
    TOO_FEW: ("·", "too few patients"),
}


def number(value: Any) -> str:
    """Write a number: three decimals, fewer for large ones; "" for NaN."""
    if value is None or not math.isfinite(value):
        return ""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 3
    text = f"{value:,.{digits}f}"
    return text.replace("-", "−") if float(text.replace(",", "")) else text.lstrip("-")


def interval(low: Any, high: Any) -> str:
    """Write an interval as ``[0.66, 0.75]``; "" if it is undefined."""
    return f"[{number(low)}, {number(high)}]" if number(low) and number(high) else ""


def signed(value: Any) -> str:
    """Write a difference, with its sign."""
    text = number(value)
    return f"+{text}" if text and value > 0 and text.strip("0.") else text


def cell_texts(row: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Prepare a metric row for the page: texts of value, floor and difference, the verdict, and the size of the sample."""
    if row is None:
        return None
    support = "" if missing(row["support"]) else f" (support {int(row['support'])})"
    few = row["verdict"] in (BETTER, WORSE) and row["patients"] < FEW
    rungs = [f"{words} {number(row[name])}" for name, words in RUNGS.items() if number(row[name])]
    return {
        "value": number(row["value"]) or f"undefined{support}",
        "defined": bool(number(row["value"])),
        "interval": interval(row["low"], row["high"]),
        "floor": number(row["floor"]) or ("no floor" if not row["floor_name"] else "undefined"),
        "floor_interval": interval(row["floor_low"], row["floor_high"]),
        "floor_name": row["floor_name"],
        "rungs": ", ".join(rungs) if len(rungs) > 1 else "",
        "difference": signed(row["difference"]),
        "difference_interval": interval(row["difference_low"], row["difference_high"]),
        "verdict": row["verdict"],
        "few": f"only {int(row['patients'])} patients" if few else "",
        "support": "" if missing(row["support"]) else f"{int(row['support']):,}",
        "patients": "" if missing(row["patients"]) else f"{int(row['patients']):,}",
        "note": row["note"],
        "lower": not row["higher_is_better"],
    }


def missing(value: Any) -> bool:
    """Return whether a value read from a table is missing."""
    return value is None or (isinstance(value, float) and math.isnan(value)) or value is pd.NA
