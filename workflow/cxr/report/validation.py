"""The page of an external validation: a study's classifier on another data set, each number beside two floors."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cxr import experiments
from cxr.data import made
from cxr.labels import LABELS
from cxr.metrics.names import label_name, metric_name
from cxr.report import render
from cxr.report.files import read_metrics, read_validity
from cxr.report.sections import validity as sections
from cxr.report.verdicts import cell_texts
from cxr.settings import Evaluation

FLOORS = {  # experiment of the tables, by its ending → what its floor is
    "study_floor": "fitted on the study's training images and asked about these: what could be said of them without their labels",
    "refitted_floor": "fitted on these images themselves, each told by what other patients' labels teach; the constant is the "
    "label's share here",
}
DETECTOR_NUMBERS = (*experiments.BOX_NUMBERS, ("froc_mean", "all"), ("mse", "all"), ("f1", "mean8"))
METRICS = ("auroc", "auprc", "loss", "accuracy")


def write(
    *,
    run: str,
    name: str,
    table: Path,
    validity: Path,
    summary: Path,
    classes: Path,
    detectors: Sequence[Path],
    settings: Evaluation,
    page: Path,
) -> None:
    """Write the page.

    run, name: of the study and of the validation. classes: facts of the chosen classifier (JSON). detectors: metric tables of the
    detectors, if there are boxes.
    """
    told, metrics, about = made.read_json(summary), read_metrics(table), read_validity(validity)
    text = render.environment().get_template("validation.html.j2").render(
        run=run,
        name=name,
        summary=told,
        labels=list(_labels(told)),
        model=made.read_json(classes),
        evaluation=settings,
        metrics=[metric_name(metric) for metric in METRICS],
        detectors=[row for path in detectors for row in _detector_rows(read_metrics(path))],
        floors=[_floor(ending, words, metrics, about) for ending, words in FLOORS.items()],
    )  # fmt: skip
    page.write_text(text, encoding="utf-8")


def _labels(told: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for label in LABELS:
        if label in told["labels"]:
            known = told["images"] - told["unknown"][label]
            yield {"name": label_name(label), "positive": told["positive"][label], "known": known}
        else:
            yield {"name": label_name(label), "positive": None, "known": 0}


def _floor(ending: str, words: str, metrics: pd.DataFrame, validity: pd.DataFrame) -> dict[str, Any]:
    mine, about = (table[table["experiment"].str.endswith(ending)] for table in (metrics, validity))
    return {
        "title": "Floor of the study" if ending == "study_floor" else "Floor refitted here",
        "words": words,
        "rows": list(_rows(mine, ("mean14", *LABELS))),
        "validity": sections.part_of(about, "These images"),
    }


def _rows(metrics: pd.DataFrame, labels: Sequence[str]) -> Iterator[dict[str, Any]]:
    for label in labels:
        found = {row["metric"]: row for row in metrics[metrics["label"] == label].to_dict("records")}
        if found:
            cells = [cell_texts(found.get(metric)) for metric in METRICS]
            yield {
                "label": label_name(label),
                "mean": label not in LABELS,
                "cells": cells,
                "note": found["auroc"]["note"],
            }


def _detector_rows(metrics: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """The numbers of a detector that a report shows first, beside both floors."""
    for row in metrics.to_dict("records"):
        if (row["metric"], row["label"]) in DETECTOR_NUMBERS:
            detector, _, floor = row["experiment"].removesuffix("_floor").rpartition("_")
            title = experiments.BY_NAME[detector].title
            number = f"{metric_name(row['metric'])}, {label_name(row['label'])}"
            texts = cell_texts(row) or {}
            yield {**texts, "floor_value": texts["floor"], "detector": title, "floor": floor, "number": number}
