"""The report's headline: the numbers that the paper prints, and those it should have reported."""

import math
from collections.abc import Sequence

import pandas as pd

from cxr.experiments import BY_NAME, EXPERIMENTS, TITLES, family
from cxr.metrics.judging import BETTER, FEWEST, SAME, TOO_FEW, UNDEFINED, WORSE
from cxr.metrics.names import metric_name, of
from cxr.report import paper, samples
from cxr.report.figures import charts, style
from cxr.report.inputs import ReportInputs
from cxr.report.rows import Row, in_paper, make_row
from cxr.report.sections.data import split_name

COUNTED = {
    BETTER: "better",
    SAME: "indistinguishable",
    WORSE: "worse",
    TOO_FEW: f"not judged for want of {FEWEST} patients",
    UNDEFINED: "undefined",
}
ALWAYS = (BETTER, SAME, WORSE)
WHOLE = ("loss", "accuracy")  # shown with “No Finding” too, where they have no verdict
COPIED = (
    *("value", "low", "high", "floor", "floor_low", "floor_high", "floor_name"),
    *("difference", "difference_low", "difference_high", "support", "patients", "p_holm"),
)


def numbers(inputs: ReportInputs) -> list[Row]:
    """Return the headline: for each experiment of the paper its numbers, and those it should have reported."""
    return [
        make_row(inputs, each.name, rank, metric, label)
        for each in EXPERIMENTS
        for rank in inputs.ranks(each.name)
        for metric, label in each.headline
    ]


def table(inputs: ReportInputs) -> pd.DataFrame:
    """Return the headline as a table, one row per number and protocol."""
    found = []
    for row in numbers(inputs):
        entry = in_paper(row)
        for protocol, cell in row.cells.items():
            found.append(
                {
                    "protocol": protocol,
                    "experiment": row.experiments[protocol] or row.family,
                    "metric": row.metric,
                    "label": row.label,
                    "paper": "" if entry is None else entry["value"],
                    **{name: (cell or {}).get(name) for name in COPIED},
                    "verdict": "not measured" if cell is None else cell["verdict"],
                }
            )
    return pd.DataFrame(found)


def lines(inputs: ReportInputs, headline: Sequence[Row]) -> list[tuple[str, str]]:
    """Return (what, sentence) computed from the numbers: count, each protocol, leakage, and missing numbers."""
    judged = [
        (row, protocol, cell["verdict"])
        for row in headline
        if row.judged
        for protocol, cell in row.cells.items()
        if cell is not None
    ]
    counts = {kind: sum(found == kind for _, _, found in judged) for kind in (BETTER, SAME, WORSE, TOO_FEW, UNDEFINED)}
    found = [
        (
            "In all",
            f"{len(judged)} headline numbers against their floors (the best predictors that never look at an image): "
            f"{', '.join(f'{count} {COUNTED[kind]}' for kind, count in counts.items() if count or kind in ALWAYS)}. “Better” "
            "and “worse” mean that the paired difference can be told from chance.",
        )
    ]
    for protocol in inputs.protocols:
        mine = [(row, kind) for row, where, kind in judged if where == protocol]
        found.append((f"Protocol {protocol}", _by_verdict(mine)))
    found.append(("Patients", _leakage_line(inputs)))
    found.append(("Not shown", _missing_line(inputs, headline)))
    return [(what, sentence) for what, sentence in found if sentence]


def _by_verdict(rows: Sequence[tuple[Row, str]]) -> str:
    if not rows:
        return "No headline number was measured."
    sentences = []
    for kind, words in (
        (BETTER, "better than the floor"),
        (SAME, "indistinguishable from the floor"),
        (WORSE, "worse than the floor"),
        (TOO_FEW, COUNTED[TOO_FEW]),
        (UNDEFINED, "undefined"),
    ):
        by_title: dict[str, list[str]] = {}
        for row, found in rows:
            if found == kind:
                by_title.setdefault(_short(row), []).append(_brief(row))
        count = sum(found == kind for _, found in rows)
        named = "; ".join(f"{title} ({', '.join(names)})" for title, names in by_title.items())
        if count or kind == BETTER:
            sentences.append(f"{count} of {len(rows)} {words}{': ' if named else ''}{named}.")
    return " ".join(sentences)


def _brief(row: Row) -> str:
    name = metric_name(row.metric).replace(", weighted", " weighted").replace(", any class", " any class")
    if row.label in paper.LARGE:
        return f"{name}, large"
    return f"{name} of the findings" if row.label in ("mean14", "findings") and name in ("Loss", "Accuracy") else name


def _short(row: Row) -> str:
    return f"transfer, {row.pair}" if row.pair else BY_NAME[row.family].short


def _leakage_line(inputs: ReportInputs) -> str:
    sentences = []
    for protocol in inputs.protocols:
        table = inputs.leakage[inputs.leakage["protocol"] == protocol]
        tested = table[(table["role_a"] == "train") & (table["role_b"] == "test")]
        if tested.empty:
            continue
        leaking = tested[tested["patients_shared"] > 0]
        if leaking.empty:
            sentences.append(
                f"Under {protocol}, training and test share no patient in any split ({len(tested)} checked)."
            )
            continue
        worst = leaking.loc[(leaking["patients_shared"] / leaking["patients_b"]).idxmax()]
        sentences.append(
            f"Under {protocol}, training and test share patients in {len(leaking)} of {len(tested)} splits; at worst "
            f"{int(worst['patients_shared'])} of {int(worst['patients_b'])} test patients ({split_name(worst['split'])})."
        )
    return " ".join(sentences)


def _missing_line(inputs: ReportInputs, headline: Sequence[Row]) -> str:
    sentences = [
        f"{TITLES[family(experiment)]} did not run under {protocol}: {reason}."
        for (protocol, experiment), reason in inputs.skipped.items()
    ]
    absent = sum(
        cell is None and (protocol, row.experiments[protocol]) not in inputs.skipped
        for row in headline
        for protocol, cell in row.cells.items()
    )
    if absent:
        sentences.append(f"Headline numbers without a measurement: {absent}.")
    return " ".join(sentences)


def chart(inputs: ReportInputs, headline: Sequence[Row]) -> dict[str, str] | None:
    """Draw numbers beside their floors, a panel per metric; None if there are none.

    Left out are numbers that are not judged, except loss and accuracy with "No Finding".
    """
    rows, keys = [], []
    for row in headline:
        for protocol, cell in row.cells.items():
            if (row.judged or row.metric in WHOLE) and cell is not None and math.isfinite(cell["value"]):
                rows.append({**cell, "panel": _panel(row), "name": _lane(row), "series": protocol})
                keys.append((protocol, row.experiments[protocol] or row.family))
    if not rows:
        return None
    return style.embedded(
        charts.interval_chart(pd.DataFrame(rows)),
        "Headline numbers beside their floors",
        "Headline numbers, a panel with axes of its own for each metric. Left: value (filled) and floor (hollow), each with its "
        "interval. Right: their paired difference; for losses and errors, below 0 is better. Blue: better than the floor; "
        "orange: worse; pale: not judged (with “No Finding”). Precision, recall, sensitivity and numbers without a floor are "
        f"in the table alone. Test images: {samples.listed(inputs, keys)}.",
    )


def _panel(row: Row) -> str:
    """Name the panel of a number: its metric; losses and accuracies of a softmax and of sigmoids differ in kind."""
    lower = "" if of(row.metric).higher_is_better else " (lower is better)"
    kind = ""
    if row.metric in WHOLE:
        kind = " of a softmax" if row.family == "baseline_softmax" else " of sigmoid outputs"
    return metric_name(row.metric) + kind + lower


def _lane(row: Row) -> str:
    words = {"": ", with “No Finding”", "mean14": ", findings", "findings": ", findings"} if row.metric in WHOLE else {}
    large = ", large boxes" if row.label in paper.LARGE else ""
    return _short(row) + words.get(row.label, large)
