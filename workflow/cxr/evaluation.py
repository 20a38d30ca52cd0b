"""Metrics of saved predictions beside their floors: files in, one metric table out. Retrains nothing, needs no GPU."""

import json
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from cxr import detection_scores, metrics, splits
from cxr.journal import Journal
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
    rows = metrics.classification_table(
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
    predictions: Path,
    validation_predictions: Path,
    train_split: Path,
    validation_split: Path,
    test_split: Path,
    threshold: float,
    tune: bool,
    settings: Evaluation,
    seed: int,
    table: Path,
    chosen: Path,
    tell: Journal,
) -> None:
    """Score a detector on the boxed test images; floors are fitted on the boxed training images.

    tune: choose the threshold of the binarised scores on the validation images; `chosen` records which one was used.
    """
    boxes, cells = read_predictions(predictions)
    train, validation, test = (splits.read_split(path) for path in (train_split, validation_split, test_split))
    if tune:
        their_boxes, their_cells = read_predictions(validation_predictions)
        threshold = detection_scores.best_threshold(validation, boxes=their_boxes, cells=their_cells)
    chosen.write_text(json.dumps({"threshold": threshold, "chosen_on": "validation" if tune else "settings"}))
    tell(f"threshold {threshold:.3f}, chosen on {'the validation images' if tune else 'no data: it is a setting'}")
    rows = detection_scores.detection_table(
        protocol,
        experiment,
        boxes=boxes,
        cells=cells,
        truth=test,
        train=train,
        threshold=threshold,
        samples=settings.bootstrap,
        confidence=settings.confidence,
        seed=seed,
    )
    rows.to_csv(table, index=False, float_format="%.6g")


def read_predictions(path: Path) -> tuple[pd.DataFrame | None, tuple[np.ndarray, np.ndarray] | None]:
    """Read a detector's predictions: (boxes, None) from CSV, or (None, (images (N,), confidence (N, 16, 16))) from NPZ."""
    if path.suffix == ".npz":
        with np.load(path) as file:
            return None, (file["images"], file["confidence"])
    return pd.read_csv(path, keep_default_na=False), None
