"""External validation of the detectors: another data set's boxes, and the scores of the predicted boxes and cells."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from cxr.boxes import CORNERS, PREDICTION_COLUMNS, format_box_text
from cxr.data import csv_cells, external_boxes, external_names, made, splits
from cxr.errors import InputError
from cxr.inference import new_images, validation
from cxr.metrics.detection import score_folds
from cxr.metrics.detections import Cells
from cxr.metrics.evaluation import read_predictions
from cxr.metrics.image_free import folds_of, patient_places
from cxr.metrics.pooling import Fold, Thresholds
from cxr.runtime.journal import Journal
from cxr.settings import Evaluation


def write_boxes(
    *, boxes: Path, names: Path | None, side: int, images: Path, cases: Path, truth: Path, tell: Journal
) -> None:
    """Write the boxed images: image, patient, boxes (text, in the 1024 frame of the squared image).

    boxes, names, side: as for `external_boxes.read_boxes`. cases: of `validation.write_cases`, for the patients; boxes on images
    without a row there are left out and counted.
    """
    index = new_images.read_index(images)
    found = external_boxes.read_boxes(boxes, external_names.read_names(names), index, side)
    patients = validation.read_cases(cases).set_index("image")["patient"]
    known = found.boxes[found.boxes["image"].isin(patients.index)]
    for note in found.notes:
        tell(note)
    tell(
        f"{len(known)} boxes on {known['image'].nunique()} images; {len(found.boxes) - len(known)} on images without labels"
    )
    if known.empty:
        raise InputError(f"{boxes}: none of its boxes is on an image of the table of labels (validate.table)")
    drawn = new_images.to_frame(known, index)
    texts = {
        image: format_box_text(rows[["label", *CORNERS]].itertuples(index=False, name=None))
        for image, rows in drawn.groupby("image", sort=True)
    }
    table = pd.DataFrame({"image": texts.keys(), "patient": patients[[*texts]].to_numpy(), "boxes": texts.values()})
    csv_cells.write(table, truth)


def write_metrics(
    *,
    protocol: str,
    truth: Path,
    images: Path,
    predictions: Path,
    facts: Path,
    thresholds: Sequence[Path],
    train: Sequence[Path],
    settings: Evaluation,
    seed: int,
    table: Path,
    tell: Journal,
) -> None:
    """Score predicted boxes (CSV) or cells (NPZ) by `detection.score_folds`, beside two floors.

    thresholds: <detector>_threshold.json of the study. train: the boxed training images of each of its folds; the study's floor is
    fitted on those of the fold whose model predicted (facts), the refitted one on the boxed images of other patients.
    """
    detector, _, place = made.read_json(facts)["experiment"].split("/")
    fold = int(place.removeprefix("fold"))
    cut = next(made.read_json(path)["folds"][fold] for path in thresholds if path.stem == f"{detector}_threshold")
    known = made.read_names(truth, ["image", "patient", "boxes"])
    boxes, cells = _predicted(predictions, new_images.read_index(images), known["image"])
    chosen = Thresholds(cut["threshold"], cut["findings"])
    studied = [Fold(known, splits.read_split(train[fold]), chosen, boxes, cells)]
    floors = {"study_floor": studied, "refitted_floor": list(_folds(known, chosen, boxes, cells, seed))}
    tables = []
    for name, folds in floors.items():
        rows, _ = score_folds(
            protocol, f"{detector}_{name}", folds,
            samples=settings.bootstrap, confidence=settings.confidence, seed=seed,
        )  # fmt: skip
        tables.append(rows)
    pd.concat(tables, ignore_index=True).to_csv(table, index=False, float_format="%.6g")
    tell(f"{detector}: {len(known)} boxed images of {known['patient'].nunique()} patients")


def _predicted(path: Path, index: pd.DataFrame, images: pd.Series) -> tuple[pd.DataFrame | None, Cells | None]:
    """Predictions of the boxed images, in the 1024 frame of the squared images."""
    if path.suffix == ".npz":
        _, cells = read_predictions(path)
        return None, _only(cells, np.isin(cells.images, images))
    found = made.read_names(path, PREDICTION_COLUMNS)
    return new_images.to_frame(found[found["image"].isin(images)], index), None


def _only(cells: Cells, images: np.ndarray) -> Cells:
    findings = {name: confidence[images] for name, confidence in cells.findings.items()}
    probability = None if cells.probability is None else cells.probability[images]
    return Cells(cells.images[images], cells.confidence[images], findings, probability)


def _folds(
    known: pd.DataFrame, thresholds: Thresholds, boxes: pd.DataFrame | None, cells: Cells | None, seed: int
) -> Iterator[Fold]:
    """Yield folds of the boxed images by patient; the training images of each are all others."""
    number = folds_of(patient_places(known["patient"], seed))
    for each in np.unique(number):
        mine = known[number == each].reset_index(drop=True)
        own = None if boxes is None else boxes[boxes["image"].isin(mine["image"])]
        held = None if cells is None else _only(cells, np.isin(cells.images, mine["image"]))
        yield Fold(mine, known[number != each].reset_index(drop=True), thresholds, own, held)
