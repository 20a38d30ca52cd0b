"""The pooled test images of all folds of a detector, each with its own fold's thresholds and floors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from cxr.boxes import CORNERS, cell_targets
from cxr.errors import InputError
from cxr.labels import BOXED_FINDINGS
from cxr.metrics.areas import best_cut, binarise
from cxr.metrics.classification import first_names
from cxr.metrics.constants import MEDIAN_BOXES
from cxr.metrics.detections import Answers, Cells, ImageBoxes, truth_boxes
from cxr.metrics.floors import COVERING_ANY, COVERING_BOXES, RANDOM_BOXES, DetectionFloors, fit_detection


@dataclass(frozen=True)
class Thresholds:
    """Lowest confidence that counts: overall, and for each finding that has a threshold of its own."""

    overall: float
    findings: dict[str, float] = field(default_factory=dict)

    def of(self, finding: str) -> float:
        return self.findings.get(finding, self.overall)


@dataclass(frozen=True)
class Fold:
    """One fold to score: its test and training splits, and the predictions for the test split.

    Predictions are boxes (columns image, label, confidence, x0, y0, x1, y1 in the 1024 frame; images without a box have no
    row) or cells. truth, train: test and training split of the boxed images (image, patient, boxes).
    """

    truth: pd.DataFrame
    train: pd.DataFrame
    thresholds: Thresholds
    boxes: pd.DataFrame | None = None
    cells: Cells | None = None


def choose_thresholds(
    truth: pd.DataFrame, *, boxes: pd.DataFrame | None = None, cells: Cells | None = None
) -> Thresholds:
    """Choose the thresholds with the best binarised F1 in cells on validation predictions (``areas.best_cut``).

    truth: a split of boxed images; boxes or cells: as in ``Fold``. A finding without a box in it that covers a cell has
    no threshold of its own.
    """
    answers = Answers.of(truth["image"], boxes, cells, "validation predictions")
    drawn = truth_boxes(truth)
    chosen = {}
    for finding in BOXED_FINDINGS:
        at, target = images_with(finding, drawn)
        if target.any():
            chosen[finding] = best_cut(answers.of_finding(finding, at), target)
    return Thresholds(best_cut(answers.cells, cell_targets([image.boxes for image in drawn])), chosen)


@dataclass(frozen=True)
class Pooled:
    """The N test images of all folds, one after the other.

    drawn: their true boxes. answers: their predictions. kept: predicted boxes at their fold's threshold (None for
    cells). marked: (N, 16, 16) cells at that threshold, 0 or 1. fold: (N,) number of each image's fold; floors and
    thresholds: one per fold. random: boxes at a random place.
    """

    patients: np.ndarray
    drawn: list[ImageBoxes]
    answers: Answers
    kept: list[ImageBoxes] | None
    marked: np.ndarray
    fold: np.ndarray
    floors: list[DetectionFloors]
    thresholds: list[Thresholds]
    random: list[ImageBoxes]

    @staticmethod
    def of(folds: Sequence[Fold], who: str, seed: int) -> "Pooled":
        for fold in folds:
            if not len(fold.truth):
                raise InputError(f"{who}: a split to score on holds no image; enlarge it")
        truth = pd.concat([fold.truth for fold in folds], ignore_index=True)
        twice = truth["image"][truth["image"].duplicated()]
        if len(twice):
            raise InputError(
                f"{who}: {len(twice)} images are tested in two folds (first: {first_names(twice)}); the splits come "
                "from different runs: delete them and run again"
            )
        floors = [fit_detection(fold.train) for fold in folds]
        each = [Answers.of(fold.truth["image"], fold.boxes, fold.cells, who) for fold in folds]
        number = np.repeat(np.arange(len(folds)), [len(fold.truth) for fold in folds])
        thresholds = [fold.thresholds for fold in folds]
        answers = Answers.pooled(each)
        cut = np.array([threshold.overall for threshold in thresholds])[number]
        kept = None
        if answers.boxes is not None:
            kept = [image.above(lowest) for image, lowest in zip(answers.boxes, cut, strict=True)]
        random = [
            constant(floors[at].boxes, floors[at].random_boxes(image, seed))
            for image, at in zip(truth["image"], number, strict=True)
        ]
        return Pooled(
            truth["patient"].to_numpy(),
            truth_boxes(truth),
            answers,
            kept,
            binarise(answers.cells, cut[:, None, None]),
            number,
            floors,
            thresholds,
            random,
        )

    def maps(self, of: Callable[[DetectionFloors], dict[str, np.ndarray]], at: np.ndarray) -> dict[str, np.ndarray]:
        """Image-free maps by name, (n, 16, 16): for each of the images at these places, that of its own fold."""
        folds = [of(floors) for floors in self.floors]
        return {name: np.stack([maps[name] for maps in folds])[self.fold[at]] for name in folds[0]}

    @property
    def constants(self) -> dict[str, list[ImageBoxes]]:
        """Image-free boxes by name: for each image, those of its own fold."""
        same = {
            MEDIAN_BOXES: [constant(floors.boxes) for floors in self.floors],
            COVERING_BOXES: [constant(floors.covering) for floors in self.floors],
            COVERING_ANY: [constant(floors.covering_any) for floors in self.floors],
        }
        return {name: [boxes[fold] for fold in self.fold] for name, boxes in same.items()} | {RANDOM_BOXES: self.random}

    @property
    def everywhere(self) -> np.ndarray:
        return np.arange(len(self.drawn))


def constant(boxes: pd.DataFrame, corners: np.ndarray | None = None) -> ImageBoxes:
    """Return a table of boxes (`constants.BOX_COLUMNS`) as those of an image, at these corners instead of its own if given."""
    where = boxes[CORNERS].to_numpy(np.float64) if corners is None else corners
    return ImageBoxes(boxes["label"].to_numpy(object), boxes["confidence"].to_numpy(np.float64), where)


def images_with(finding: str, drawn: list[ImageBoxes]) -> tuple[np.ndarray, np.ndarray]:
    """Places of the images that have a box of the finding, and the cells it covers (n, 16, 16)."""
    at = np.flatnonzero([(image.labels == finding).any() for image in drawn])
    return at, cell_targets([drawn[place].of_label(finding).boxes for place in at])


def patients_with(label: str, pooled: Pooled) -> np.ndarray:
    """Return the patient of each image that has a box of the label ("all": any box)."""
    has = [len(image.labels if label == "all" else image.of_label(label).labels) > 0 for image in pooled.drawn]
    return pooled.patients[np.array(has, dtype=bool)]
