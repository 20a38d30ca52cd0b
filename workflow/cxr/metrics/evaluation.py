"""Metrics of saved predictions beside their floors: files in, one metric table out. No training, no GPU."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from cxr import experiments
from cxr.data import splits
from cxr.metrics import classification, image_free, validity
from cxr.metrics.bootstrap import Resampling
from cxr.metrics.detection import score_folds
from cxr.metrics.detections import Cells
from cxr.metrics.ladder import Ladder
from cxr.metrics.pooling import Fold, Thresholds, choose_thresholds
from cxr.runtime.jobs import Job
from cxr.runtime.journal import Journal
from cxr.settings import Evaluation


@dataclass(frozen=True)
class FoldFiles:
    """The files of one fold of a detector: predictions of its test and validation images, and its three splits."""

    predictions: Path
    validation_predictions: Path
    train_split: Path
    validation_split: Path
    test_split: Path

    @classmethod
    def of(cls, job: Job) -> "list[FoldFiles]":
        """Return those of a workflow's job, fold by fold."""
        given = job.input
        files = (given.predictions, given.validation_predictions, given.train, given.validation, given.test)
        return [cls(*map(Path, fold)) for fold in zip(*files, strict=True)]


@dataclass(frozen=True)
class DetectorFiles:
    """What the scoring of a detector writes: metric table, thresholds used (JSON), and FROC curve (no row for cells)."""

    table: Path
    thresholds: Path
    froc: Path


def write_classifier(
    *,
    experiment: experiments.Key,
    activation: Literal["softmax", "sigmoid"],
    predictions: Path,
    floors: Path,
    test_split: Path,
    settings: Evaluation,
    seed: int,
    table: Path,
) -> None:
    """Score a classifier on its test split, beside the image-free predictors fitted on its training split.

    floors: what `write_ladder` wrote for the split.
    """
    rows = classification.classification_table(
        *experiment,
        pd.read_csv(predictions),
        splits.read_split(test_split),
        Ladder.load(floors),
        activation=activation,
        resampling=Resampling(settings.bootstrap, settings.confidence, seed),
    )
    rows.to_csv(table, index=False, float_format="%.6g")


def write_validity(
    *,
    experiment: experiments.Key,
    predictions: Path,
    floors: Path,
    test_split: Path,
    test_metadata: Path,
    settings: Evaluation,
    seed: int,
    table: Path,
) -> None:
    """Write the validity table of a classifier with sigmoid outputs: calibration and subgroups of its test images.

    floors: what `write_ladder` wrote for the split. test_metadata: age, sex and view of the test images.
    """
    rows = validity.validity_table(
        *experiment,
        pd.read_csv(predictions),
        splits.read_split(test_split),
        splits.read_metadata(test_metadata),
        Ladder.load(floors),
        resampling=Resampling(settings.bootstrap, settings.confidence, seed),
    )
    rows.to_csv(table, index=False, float_format="%.6g")


def write_ladder(
    *, train: Path, train_metadata: Path, test_metadata: Path, seed: int, ladder: Path, tell: Journal
) -> None:
    """Fit the image-free predictors on a training split and write what they say of the test images, as NPZ.

    train: the split; *_metadata: age, sex, view and follow-up number of the images of both roles. No test label is read.
    """
    known = splits.read_split(train)
    described, asked = splits.read_metadata(train_metadata), splits.read_metadata(test_metadata)
    found = image_free.climb(known.merge(described.drop(columns="patient"), on="image", how="left"), asked, seed)
    found.save(ladder)
    tell(f"{len(found.rungs)} image-free predictors of {len(asked)} images, fitted on {len(known)}")


def write_detector(
    *,
    experiment: experiments.Key,
    files: Sequence[FoldFiles],
    threshold: float,
    tune: bool,
    settings: Evaluation,
    seed: int,
    outputs: DetectorFiles,
    tell: Journal,
) -> None:
    """Score a detector on the boxed test images of all folds; floors are fitted on each fold's boxed training images.

    files: those of each fold. tune: choose the thresholds of the binarised scores on each fold's validation images. Scores
    and curve: ``detection.score_folds``.
    """
    folds = []
    for number, fold in enumerate(files):
        boxes, cells = read_predictions(fold.predictions)
        thresholds = Thresholds(threshold)
        if tune:
            their_boxes, their_cells = read_predictions(fold.validation_predictions)
            validation = splits.read_split(fold.validation_split)
            thresholds = choose_thresholds(validation, boxes=their_boxes, cells=their_cells)
        tell(
            f"fold {number}: threshold {thresholds.overall:.3f}, "
            f"{'chosen on the validation images' if tune else 'from the settings'}"
        )
        test, train = splits.read_split(fold.test_split), splits.read_split(fold.train_split)
        folds.append(Fold(test, train, thresholds, boxes, cells))
    rows, curve = score_folds(*experiment, folds, samples=settings.bootstrap, confidence=settings.confidence, seed=seed)
    curve.to_csv(outputs.froc, index=False, float_format="%.6g")
    outputs.thresholds.write_text(
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
    rows.to_csv(outputs.table, index=False, float_format="%.6g")


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
