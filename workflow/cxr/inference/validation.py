"""External validation: another data set's labels joined with its images, and the scores of what was predicted of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cxr.data import csv_cells, external_names, external_table, made, splits
from cxr.inference import new_images
from cxr.labels import LABELS
from cxr.metrics import external
from cxr.runtime.journal import Journal
from cxr.settings import Evaluation

STUDY, REFITTED = "classes_study_floor", "classes_refitted_floor"  # experiments of the tables, by their floor


def write_cases(
    *,
    labels: Path,
    names: Path | None,
    one_image_per_patient: bool,
    images: Path,
    train: Path,
    cases: Path,
    summary: Path,
    tell: Journal,
) -> None:
    """Write the labelled images (`external_table.CASE_COLUMNS`), and what is known and left out (JSON).

    labels, names: the other data set's table, and the file of names, if any. images: of `prepare`. train: the study's split, to
    say how many of the images it was trained on. Raises InputError as `external_table` does.
    """
    found = external_table.read_external(labels, external_names.read_names(names), one_image_per_patient)
    index = new_images.read_index(images)
    named = external_table.matched(labels, found.cases, index["image"].tolist())
    csv_cells.write(named, cases)
    told = _summary(labels, found, named, index, set(splits.read_images(train)["digest"]))
    summary.write_text(json.dumps(told, indent=1), encoding="utf-8")
    for note in told["notes"]:
        tell(note)
    tell(
        f"{len(named)} images of {named['patient'].nunique()} patients have labels; {', '.join(told['labels'])} are told"
    )


def _summary(
    path: Path, found: external_table.External, named: pd.DataFrame, index: pd.DataFrame, trained: set[str]
) -> dict[str, Any]:
    digests = index.set_index("image")["digest"]
    return {
        "table": path.name,
        "rows": len(found.cases),
        "images": len(named),
        "patients": int(named["patient"].nunique()),
        "not_in_folder": len(found.cases) - len(named),
        "without_row": len(index) - len(named),
        "trained_on": int(digests[named["image"]].isin(trained).sum()),
        "labels": list(found.labels),
        "without": [label for label in LABELS if label not in found.labels],
        "positive": {label: int((named[label] == 1).sum()) for label in found.labels},
        "unknown": {label: int(named[label].isna().sum()) for label in found.labels},
        "metadata": list(found.metadata),
        "notes": list(found.notes),
    }


def write_metrics(
    *,
    protocol: str,
    cases: Path,
    summary: Path,
    classes: Path,
    train: Path,
    train_metadata: Path,
    settings: Evaluation,
    seed: int,
    table: Path,
    validity: Path,
    tell: Journal,
) -> None:
    """Score the predictions (classes) of the cases, each number beside the floor of the study and one fitted on the cases.

    train, train_metadata: the study's training images, on which its floor is fitted. Tables: `external.tables`.
    """
    known = read_cases(cases)
    said = made.read_names(classes, ["image", *LABELS]).set_index("image").loc[known["image"], list(LABELS)]
    described = splits.read_metadata(train_metadata).drop(columns="patient")
    given = splits.read_split(train).merge(described, on="image", how="left")
    ladders = {
        STUDY: external.study_ladder(given, known, made.read_json(summary)["metadata"], seed),
        REFITTED: external.refitted_ladder(known, seed),
    }
    metrics, about = external.tables(
        protocol, known, said.to_numpy(np.float64), ladders,
        samples=settings.bootstrap, confidence=settings.confidence, seed=seed,
    )  # fmt: skip
    metrics.to_csv(table, index=False, float_format="%.6g")
    about.to_csv(validity, index=False, float_format="%.6g")
    tell(f"{len(known)} images; floors fitted on {len(given)} images of the study, and on these images")


def read_cases(path: Path) -> pd.DataFrame:
    """Read what `write_cases` wrote: numbers float64 (missing: NaN), sex and view as text (missing: "")."""
    table = made.read_names(path, external_table.CASE_COLUMNS)
    numbers = ["age", "follow_up", *LABELS]
    return table.assign(**{name: pd.to_numeric(table[name]).astype(np.float64) for name in numbers})
