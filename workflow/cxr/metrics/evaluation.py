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
from cxr.metrics import classification, detector_validity, image_free, validity
from cxr.metrics.bootstrap import Resampling
from cxr.metrics.detection import score_folds
from cxr.metrics.detections import Cells
from cxr.metrics.ladder import Ladder
from cxr.metrics.pooling import Fold, Thresholds, choose_thresholds
from cxr.metrics.validity_rows import Said
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


@dataclass(frozen=True)
class ValidityFiles:
    """The files of a classifier's validity: of the test and the validation images its predictions, the split, and what
    `write_ladder` wrote (floors); test_metadata: age, sex and view of the test images.
    """

    predictions: Path
    floors: Path
    test_split: Path
    test_metadata: Path
    validation_predictions: Path
    validation_floors: Path
    validation_split: Path

    @classmethod
    def of(cls, job: Job) -> "ValidityFiles":
        """Return those of a workflow's job."""
        given = job.input
        test = (given.predictions, given.floors, given.test, given.test_metadata)
        validation = (given.validation_predictions, given.validation_floors, given.validation)
        return cls(*map(Path, (*test, *validation)))


def write_validity(
    *,
    experiment: experiments.Key,
    files: ValidityFiles,
    settings: Evaluation,
    seed: int,
    table: Path,
) -> None:
    """Write the validity table of a classifier with sigmoid outputs (`validity.validity_table`)."""
    test = _said(files.predictions, files.test_split, files.floors)
    validation = _said(files.validation_predictions, files.validation_split, files.validation_floors)
    rows = validity.validity_table(
        *experiment,
        test,
        validation,
        splits.read_metadata(files.test_metadata),
        resampling=Resampling(settings.bootstrap, settings.confidence, seed),
    )
    rows.to_csv(table, index=False, float_format="%.6g")


def _said(predictions: Path, split: Path, floors: Path) -> Said:
    return Said(pd.read_csv(predictions), splits.read_split(split), Ladder.load(floors))


def write_ladder(
    *,
    train: Path,
    train_metadata: Path,
    test_metadata: Path,
    validation_metadata: Path | None = None,
    seed: int,
    ladder: Path,
    validation_ladder: Path | None = None,
    tell: Journal,
) -> None:
    """Fit the image-free predictors on a training split; write what they say of the test and the validation images, as NPZ.

    train: the split; *_metadata: age, sex, view and follow-up number of the images of each role; without those of the
    validation images nothing is said of them. No label of a test or validation image is read.
    """
    known = splits.read_split(train)
    described = splits.read_metadata(train_metadata)
    asked = {test_metadata: ladder}
    if validation_metadata and validation_ladder:
        asked[validation_metadata] = validation_ladder
    images = [splits.read_metadata(path) for path in asked]
    given = known.merge(described.drop(columns="patient"), on="image", how="left")
    for found, path in zip(image_free.climb_each(given, images, seed), asked.values(), strict=True):
        found.save(path)
        tell(f"{len(found.rungs)} image-free predictors of {len(found.images)} images, fitted on {len(known)}")


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
    folds = read_folds(files, threshold, tune, tell)
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


def write_detector_validity(
    *,
    experiment: experiments.Key,
    files: Sequence[FoldFiles],
    test_metadata: Sequence[Path],
    threshold: float,
    tune: bool,
    settings: Evaluation,
    seed: int,
    table: Path,
    tell: Journal,
) -> None:
    """Write the validity table of a detector (`detector_validity.detector_table`); arguments as for `write_detector`.

    test_metadata: age, sex and view of each fold's test images.
    """
    rows = detector_validity.detector_table(
        *experiment,
        read_folds(files, threshold, tune, tell),
        pd.concat([splits.read_metadata(path) for path in test_metadata], ignore_index=True),
        samples=settings.bootstrap,
        confidence=settings.confidence,
        seed=seed,
    )
    rows.to_csv(table, index=False, float_format="%.6g")


def read_folds(files: Sequence[FoldFiles], threshold: float, tune: bool, tell: Journal) -> list[Fold]:
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
    return folds


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
