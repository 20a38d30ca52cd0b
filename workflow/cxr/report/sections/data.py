"""The report's section on the data: what is usable, how it was split, and which experiment saw what."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from cxr.experiments import EXPERIMENTS, pair
from cxr.metrics.names import label_name
from cxr.report import samples
from cxr.report.figures import style
from cxr.report.inputs import ReportInputs
from cxr.report.rows import pair_name
from cxr.report.verdicts import missing, number

BOX_SPLIT = "boxes_fold"  # followed by the fold's number: a split of the boxed images


def section(inputs: ReportInputs) -> dict[str, Any]:
    """Return the page's content on the data."""
    summary = inputs.summary
    return {
        "summary": summary,
        "labels": [
            {**row, "label": label_name(row["label"]), "share": number(row["share"])}
            for row in label_counts(inputs).to_dict("records")
        ],
        "rejected": inputs.rejected.to_dict("records"),
        "leakage": _leakage_rows(inputs),
        "seen": _seen(inputs),
        "source_is_file": inputs.settings["source"]["kind"] == "file",
        "examples": None
        if inputs.examples is None
        else style.embedded(
            inputs.examples,
            "Example images of the data",
            "Images of the data as the classifiers read them, one of each label, drawn at random from "
            f"{samples.of_data(summary)}.",
        ),
    }


def label_counts(inputs: ReportInputs) -> pd.DataFrame:
    """Return label, images, share of the usable images, boxes."""
    images = inputs.summary["usable_images"]
    return pd.DataFrame(
        [
            {
                "label": label,
                "images": count,
                "share": count / images if images else math.nan,
                "boxes": inputs.summary["box_labels"].get(label, 0),
            }
            for label, count in inputs.summary["labels"].items()
        ]
    )


def _leakage_rows(inputs: ReportInputs) -> list[dict[str, Any]]:
    """Return one row per split: for each pair of roles, the patients (and images) in both."""
    rows = []
    for (protocol, split), part in inputs.leakage.groupby(["protocol", "split"], sort=False):
        pairs = {}
        for entry in part.to_dict("records"):
            names = (entry["role_a"], entry["role_b"])
            pairs[names] = {
                "patients": int(entry["patients_shared"]),
                "images": int(entry["images_shared"]),
                "of": int(entry["patients_b"]) if not missing(entry.get("patients_b")) else None,
            }
        rows.append({"protocol": protocol, "split": split_name(split), "order": _split_order(split), "pairs": pairs})
    return sorted(rows, key=lambda row: (row["protocol"], row["order"]))


def split_name(split: Any) -> str:
    """Name a split for readers: of a size, of all images, or of a fold of the boxed ones."""
    if str(split).startswith(BOX_SPLIT):
        return f"boxed images, fold {int(split.removeprefix(BOX_SPLIT)) + 1}"
    return "all images" if split == "all" else f"s = {int(split):,}"


def _split_order(split: Any) -> tuple[int, int]:
    number = str(split).removeprefix(BOX_SPLIT)
    kind = 2 if str(split).startswith(BOX_SPLIT) else int(split == "all")
    return (kind, int(number) if number.isdigit() else 0)


def _seen(inputs: ReportInputs) -> list[dict[str, str]]:
    """Return where each experiment's weights come from, and which images trained, chose and tested them."""
    rows = []
    for about in EXPERIMENTS:
        for protocol, experiment in inputs.experiments_of(about.name):
            folds = inputs.of_folds(inputs.facts, protocol, experiment) or [{}]
            facts = folds[0]
            mine = inputs.metrics[
                (inputs.metrics["protocol"] == protocol)
                & (inputs.metrics["experiment"] == experiment)
                & inputs.metrics["metric"].isin(["loss", "f1"])
                & inputs.metrics["label"].isin(["", "all"])
            ]
            chosen = pair(experiment)
            start = "random weights"
            if chosen:
                start = inputs.source_name
            elif given := facts.get("from") or facts.get("weights"):
                kind = facts.get("weights_kind", "detector weights")
                start = "random weights" if given == "scratch" else f"{given} ({kind} given by the user)"
            rows.append(
                {
                    "experiment": f"Transfer, {pair_name(chosen)}" if chosen else about.title,
                    "protocol": protocol,
                    "start": start,
                    "training": _counts([each.get("training_images") for each in folds]),
                    "validation": _counts([each.get("validation_images") for each in folds]),
                    "test": _count(mine["support"].iloc[0]) if len(mine) else "",
                }
            )
    return rows


def _counts(values: Sequence[Any]) -> str:
    """Write the numbers of images of all folds: one number if they are equal, else the range."""
    known = [value for value in values if value is not None]
    if not known or min(known) == max(known):
        return _count(known[0] if known else None)
    return f"{_count(min(known))}–{_count(max(known))}"


def _count(value: Any) -> str:
    return "–" if value is None else f"{int(value):,}"
