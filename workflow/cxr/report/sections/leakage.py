"""The report's section on what recognising patients is worth: sentences, table and figure."""

from typing import Any

import pandas as pd

from cxr.labels import SEPARATOR
from cxr.metrics.judging import FEWEST
from cxr.metrics.leakage import ARMS_DIFFER, IMAGE, NETWORK, PATIENT, SHARED, SUBSETS_DIFFER, UNSHARED
from cxr.metrics.names import label_name
from cxr.report import samples
from cxr.report.figures import style
from cxr.report.figures.leakage import leakage_chart
from cxr.report.verdicts import interval, missing, number, signed

PREDICTORS = {
    NETWORK: "The network",
    "metadata": "Without an image: age, sex, view, follow-up number",
    "history": "Without an image: these and the patient's training labels",
}
SUBSETS = {SHARED: "shared", UNSHARED: "unshared", SUBSETS_DIFFER: "shared minus unshared"}
CAPTION = (
    "Left: mean AUROC of the two arms on test images whose patient has training images in the arm “image” (shared) and on "
    "the others (unshared). Right: arm “image” minus arm “patient”; purple: the difference of the two differences. With "
    "intervals by patient. Dashed: 0.5, what a constant has, and no difference."
)


def section(table: pd.DataFrame | None) -> dict[str, Any] | None:
    """Return the page's content on the leakage experiment; None where it was not carried out."""
    if table is None:
        return None
    cells = {(row["predictor"], row["subset"], row["arm"]): row for row in table.to_dict("records")}
    names = {name: words for name, words in PREDICTORS.items() if (name, SHARED, IMAGE) in cells}
    return {
        "sentences": sentences(cells),
        "note": _note(table.iloc[0].to_dict()),
        "groups": [(words, [_row(cells, name, subset) for subset in SUBSETS]) for name, words in names.items()],
        "repeated": bool(table["repeats"].iloc[0] > 1),
        "figure": style.embedded(
            leakage_chart(table, names), "What recognising patients is worth", CAPTION + _sample(cells)
        ),
    }


def _sample(cells: dict[tuple[str, str, str], dict[str, Any]]) -> str:
    told = []
    for subset in (SHARED, UNSHARED):
        row = cells[NETWORK, subset, IMAGE]
        told.append(
            f"{subset}: {samples.told(*(samples.span([row[name]]) for name in ('images', 'patients', 'positives')))}"
        )
    return f" Test images: {'; '.join(told)}."


def sentences(cells: dict[tuple[str, str, str], dict[str, Any]]) -> list[str]:
    """Return sentences computed from the cells: the worth of recognising patients, its parts, and the floor's."""
    arms = {arm: cells[NETWORK, SHARED, arm] for arm in (IMAGE, PATIENT)}
    found = [
        f"Recognising patients is worth {_told(cells[NETWORK, SUBSETS_DIFFER, ARMS_DIFFER])} of mean AUROC to the network: it "
        f"gains {_told(cells[NETWORK, SHARED, ARMS_DIFFER])} on shared images, and "
        f"{_told(cells[NETWORK, UNSHARED, ARMS_DIFFER])} on unshared ones, where there is no patient to recognise.",
        f"On shared images, an image-level split reports {number(arms[IMAGE]['value'])}, and a patient-level split "
        f"{number(arms[PATIENT]['value'])}.",
    ]
    history = cells.get(("history", SUBSETS_DIFFER, ARMS_DIFFER))
    if history:
        found.append(
            f"Without an image, the labels of the patient's training images are worth {_told(history)}: that is what "
            "recognising patients alone can give."
        )
    return found


def _told(row: dict[str, Any]) -> str:
    return f"{signed(row['value']) or 'an undefined amount'} {interval(row['low'], row['high'])}".rstrip()


def _note(row: dict[str, Any]) -> str:
    labels, others = (_names(row[name]) for name in ("labels", "left_out"))
    few = row["fewest"] < FEWEST
    why = (
        "of which no test image tells" if few else f"with fewer than {FEWEST} patients with or without them in a subset"
    )
    left_out = f"; left out, {why}: {', '.join(others)}" if others else ""
    return f"Mean over {len(labels)} findings: {', '.join(labels)}{left_out}."


def _names(text: Any) -> list[str]:
    return [] if missing(text) or not text else [label_name(label) for label in str(text).split(SEPARATOR)]


def _row(cells: dict[tuple[str, str, str], dict[str, Any]], predictor: str, subset: str) -> dict[str, Any]:
    image, patient, difference = (cells[predictor, subset, arm] for arm in (IMAGE, PATIENT, ARMS_DIFFER))
    write = signed if subset == SUBSETS_DIFFER else number
    return {
        "subset": SUBSETS[subset],
        "whole": subset == SUBSETS_DIFFER,
        "images": f"{int(image['images']):,}",
        "patients": f"{int(image['patients']):,}",
        "arms": [(write(row["value"]) or "undefined", interval(row["low"], row["high"])) for row in (image, patient)],
        "difference": (signed(difference["value"]) or "undefined", interval(difference["low"], difference["high"])),
        "spread": number(difference["spread"]),
        "verdict": difference["verdict"],
    }
