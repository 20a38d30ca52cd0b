"""Metrics of saved predictions beside their floors: files in, one metric table out. No training, no GPU."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from cxr.data import splits
from cxr.metrics import classification
from cxr.metrics.detection import score_folds
from cxr.metrics.detections import Cells
from cxr.metrics.pooling import Fold, Thresholds, choose_thresholds
from cxr.runtime.journal import Journal
from cxr.settings import Evaluation


def write_classifier(
    *,
    protocol: str,
    experiment: str,
    activation: Literal["softmax", "sigmoid"],
    predictions: Path,
    train_split: Path,
    test_split: Path,
    settings: Evaluation,
    seed: int,
    table: Path,
) -> None:
    """Score a classifier on its test split; the floors are constants fitted on its training split."""
    rows = classification.classification_table(
        protocol,
        experiment,
        pd.read_csv(predictions),
        splits.read_split(test_split),
        splits.read_split(train_split),
        activation=activation,
        samples=settings.bootstrap,
        confidence=settings.confidence,
        seed=seed,
    )
    rows.to_csv(table, index=False, float_format="%.6g")


def write_detector(
    *,
    protocol: str,
    experiment: str,
    predictions: Sequence[Path],
    validation_predictions: Sequence[Path],
    train_splits: Sequence[Path],
    validation_splits: Sequence[Path],
    test_splits: Sequence[Path],
    threshold: float,
    tune: bool,
    settings: Evaluation,
    seed: int,
    table: Path,
    chosen: Path,
    froc: Path,
    tell: Journal,
) -> None:
    """Score a detector on the boxed test images of all folds; floors are fitted on each fold's boxed training images.

    table: the metric table; froc: the curve of a detector of boxes (``detection.score_folds``).
    Every sequence has one entry per fold, in the same order. tune: choose the thresholds of the binarised scores on each
    fold's validation images; `chosen` records the thresholds used.
    """
    folds = []
    for number, path in enumerate(predictions):
        boxes, cells = read_predictions(path)
        thresholds = Thresholds(threshold)
        if tune:
            their_boxes, their_cells = read_predictions(validation_predictions[number])
            validation = splits.read_split(validation_splits[number])
            thresholds = choose_thresholds(validation, boxes=their_boxes, cells=their_cells)
        tell(
            f"fold {number}: threshold {thresholds.overall:.3f}, "
            f"{'chosen on the validation images' if tune else 'from the settings'}"
        )
        test, train = splits.read_split(test_splits[number]), splits.read_split(train_splits[number])
        folds.append(Fold(test, train, thresholds, boxes, cells))
    rows, curve = score_folds(
        protocol, experiment, folds, samples=settings.bootstrap, confidence=settings.confidence, seed=seed
    )
    curve.to_csv(froc, index=False, float_format="%.6g")
    chosen.write_text(
        json.dumps(
            {
                "chosen_on": "validation" if tune else "settings",
                "folds": [
                    {"threshold": t.overall, "findings": t.findings} for t in (fold.thresholds for fold in folds)
                ],
            },
            indent=1,
        ),
        encoding="utf-8",
    )
    rows.to_csv(table, index=False, float_format="%.6g")


def read_predictions(path: Path) -> tuple[pd.DataFrame | None, Cells | None]:
    """Read a detector's predictions: (boxes, None) from CSV, or (None, cells) from NPZ."""
    if path.suffix == ".npz":
        with np.load(path) as file:
            told = (
                zip(file["findings"], file["finding_confidence"].swapaxes(0, 1), strict=True)
                if "findings" in file
                else ()
            )
            findings = {str(name): cells for name, cells in told}
            return None, Cells(file["images"], file["confidence"], findings, file.get("probability"))
    return pd.read_csv(path, keep_default_na=False), None
