"""Variants of the grid CNN on the same test images: the paper's three losses, and two numbers of training images.

Each variant is trained in several draws: with a seed of its own, and where there are fewer training images, without others.
Draw k of one variant is compared with draw k of another. Intervals hold the spread between draws and that between patients.

How confident a network is: the mean, median and 90% quantile over the cells of an image that lie in its true boxes ("inside"),
and over those that do not ("outside"), averaged over the images that have such cells.

The floor needs no image: the map that is best on the training images for the loss. It is the mean training mask for the squared
error and, for the absolute error, the median mask: 1 where more than half of the training images have a box, which may be nowhere.
Cosine proximity leaves the scale of the confidences open, so its floor is the mean mask too, and no difference to it has one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from cxr.boxes import cell_targets
from cxr.data import splits
from cxr.metrics import judging
from cxr.metrics.areas import area_estimates, cell_scores
from cxr.metrics.bootstrap import Estimate, Resampling, bootstrap_weights, minus, weighted_ratios
from cxr.metrics.claims import CLAIM_COLUMNS
from cxr.metrics.detections import Answers, truth_boxes
from cxr.metrics.evaluation import read_predictions
from cxr.metrics.floors import MEAN_MASK
from cxr.metrics.repeats import degrees_of_freedom
from cxr.runtime.jobs import Job
from cxr.runtime.journal import Journal
from cxr.settings import Evaluation

VARIANT_COLUMNS = [*CLAIM_COLUMNS, "note"]
MSE, L1, COSINE, FEWER = "mse_all", "l1_all", "cosine_all", "mse_fewer"
MEDIAN_MASK = "median training mask"
SUMMARIES: Mapping[str, Callable[[np.ndarray], float]] = {
    "mean": np.mean,
    "median": np.median,
    "90% quantile of the": lambda cells: np.quantile(cells, 0.9),
}
F1 = "f1_weighted"
ROUNDING = 1e-12  # smaller errors are those of float64, and no spread
Row = dict[str, object]


@dataclass(frozen=True)
class Training:
    """The files of a variant in one draw: of each fold its predictions, the images it was trained on, and its test split."""

    variant: str
    draw: int
    predictions: Sequence[Path]
    train: Sequence[Path]
    test: Sequence[Path]

    @classmethod
    def of(cls, job: Job) -> "list[Training]":
        """Return those of a workflow's job: predictions variant by variant, draw by draw, fold by fold."""
        given, draws = job.input, job.params.draws
        folds = len(given.test)
        predictions, fewer = _parts(given.predictions, folds), _parts(given.fewer, folds)
        trained = [(variant, draw) for variant in job.params.variants for draw in draws]
        return [
            cls(
                variant,
                draw,
                paths,
                fewer[draws.index(draw)] if variant == FEWER else _paths(given.train),
                _paths(given.test),
            )
            for (variant, draw), paths in zip(trained, predictions, strict=True)
        ]


def _parts(paths: Sequence[str], size: int) -> list[list[Path]]:
    return [_paths(paths[start : start + size]) for start in range(0, len(paths), size)]


def _paths(paths: Sequence[str]) -> list[Path]:
    return [Path(path) for path in paths]


@dataclass(frozen=True)
class Maps:
    """What one training says of the N test images. cells: (N, 16, 16); shares: (N, 16, 16) mean mask of its training images;
    images: the number of these, in each fold."""

    cells: np.ndarray
    shares: np.ndarray
    images: tuple[int, ...]

    @classmethod
    def read(cls, files: Training) -> "Maps":
        cells, shares, images = [], [], []
        for predictions, train, test in zip(files.predictions, files.train, files.test, strict=True):
            asked, known = splits.read_split(test)["image"], _targets(splits.read_split(train))
            who = f"predictions of {files.variant}, draw {files.draw}"
            cells.append(Answers.of(asked, None, read_predictions(predictions)[1], who).cells)
            shares.append(np.broadcast_to(known.mean(axis=0), cells[-1].shape))
            images.append(len(known))
        return cls(np.concatenate(cells), np.concatenate(shares), tuple(images))


def _targets(split: pd.DataFrame) -> np.ndarray:
    return cell_targets([image.boxes for image in truth_boxes(split)])


class Compared:
    """The trainings of all variants, scored on the same test images and the same resamples.

    trained: variant → its trainings, in the order of their draws. targets: (N, 16, 16) of 0 and 1. patients: (N,).
    """

    def __init__(
        self, trained: Mapping[str, Sequence[Maps]], targets: np.ndarray, patients: np.ndarray, resampling: Resampling
    ):
        self.trained, self.targets, self.patients, self.resampling = trained, targets, patients, resampling
        self.weights = bootstrap_weights(patients, resampling.samples, resampling.seed)
        self.places = {"inside": targets > 0, "outside": targets == 0}

    def table(self) -> pd.DataFrame:
        """Return the comparison, columns ``VARIANT_COLUMNS``: each loss, the losses against each other, and the sizes."""
        return pd.DataFrame([*self.losses(), *self.confidences(), *self.scores()], columns=VARIANT_COLUMNS)

    def losses(self) -> Iterator[Row]:
        for variant in (MSE, L1, COSINE):
            said = [maps.cells for maps in self.trained[variant]]
            floors = self.floors(variant)
            name = MEDIAN_MASK if variant == L1 else MEAN_MASK
            for measure in (F1, *self.measures):
                yield self.row(variant, measure, self.each(measure, said), self.each(measure, floors), name, variant)

    def confidences(self) -> Iterator[Row]:
        """Subtract the confidences of the squared error from those of the absolute error."""
        for measure in self.measures:
            yield self.gain(measure, L1, MSE, f"{MEDIAN_MASK} minus {MEAN_MASK}")

    def scores(self) -> Iterator[Row]:
        """Subtract the F1 of the other losses, and that on fewer images, from the F1 of the squared error on all."""
        yield self.gain(F1, MSE, L1, f"{MEAN_MASK} minus {MEDIAN_MASK}")
        yield self.gain(F1, MSE, COSINE, "")
        yield self.gain(F1, MSE, FEWER, f"{MEAN_MASK} of all minus that of fewer images")

    def gain(self, measure: str, first: str, second: str, floor: str) -> Row:
        """Compare two variants draw by draw. floor: name of the same difference of their image-free maps; "": none."""
        ours = self.differences(measure, *([maps.cells for maps in self.trained[each]] for each in (first, second)))
        free = self.differences(measure, self.floors(first), self.floors(second)) if floor else None
        return self.row(f"{first} - {second}", measure, ours, free, floor, first, second)

    def differences(self, measure: str, first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> list[Estimate]:
        pairs = zip(self.each(measure, first), self.each(measure, second), strict=True)
        return [minus(*pair) for pair in pairs]

    def floors(self, variant: str) -> list[np.ndarray]:
        """Return the image-free map of each training, (N, 16, 16)."""
        shares = [maps.shares for maps in self.trained[variant]]
        return [(each > 0.5).astype(np.float64) for each in shares] if variant == L1 else shares

    @property
    def measures(self) -> list[str]:
        return [f"{summary} confidence {place}" for place in self.places for summary in SUMMARIES]

    def each(self, measure: str, maps: Sequence[np.ndarray]) -> list[Estimate]:
        """Score the maps (N, 16, 16) of every draw."""
        if measure == F1:
            everywhere = np.ones(len(self.patients), dtype=bool)
            return [area_estimates(cell_scores(self.targets, each), everywhere, self.weights)[2] for each in maps]
        summary, place = measure.split(" confidence ")
        return [self.confidence(each, SUMMARIES[summary], self.places[place]) for each in maps]

    def confidence(self, cells: np.ndarray, summary: Callable[[np.ndarray], float], place: np.ndarray) -> Estimate:
        """Average a summary of each image's cells at a place over the images that have such cells."""
        has = place.any(axis=(1, 2))
        values = [summary(of[at]) if any_ else 0.0 for of, at, any_ in zip(cells, place, has, strict=True)]
        return weighted_ratios(np.array(values)[:, None], has[:, None], self.weights)[0]

    def row(
        self,
        subject: str,
        measure: str,
        ours: Sequence[Estimate],
        floors: Sequence[Estimate] | None,
        floor_name: str,
        *variants: str,
    ) -> Row:
        place = measure.partition(" confidence ")[2]
        patients = self.patients[self.places[place].any(axis=(1, 2))] if place else self.patients
        nothing = [Estimate(np.nan, np.full_like(each.samples, np.nan)) for each in ours]
        apart = [minus(*pair) for pair in zip(ours, floors or nothing, strict=True)]
        effective, confidence = judging.effective_patients(patients), self.resampling.confidence
        value, floor, difference = (
            over_draws(each, effective, confidence) for each in (ours, floors or nothing, apart)
        )
        return {
            "subject": subject, "measure": measure, "note": self.note(variants), "floor_name": floor_name,
            "value": value.mean, "low": value.low, "high": value.high, "p": value.p,
            "floor": floor.mean, "floor_low": floor.low, "floor_high": floor.high, "p_floor": difference.p,
            "difference": difference.mean, "difference_low": difference.low, "difference_high": difference.high,
            "images": len(patients), "patients": len(np.unique(patients)),
        }  # fmt: skip

    def note(self, variants: Sequence[str]) -> str:
        sizes = [_span(self.trained[each][0].images) for each in variants]
        return f"{len(self.trained[MSE])} trainings each, on {' and '.join(dict.fromkeys(sizes))} images"


def _span(counts: Sequence[int]) -> str:
    ends = sorted({min(counts), max(counts)})
    return " to ".join(f"{count:,}" for count in ends)


@dataclass(frozen=True)
class OverDraws:
    """A mean over draws with its interval and its p-value against 0; NaN where undefined."""

    mean: float
    low: float
    high: float
    p: float


def over_draws(each: Sequence[Estimate], patients: float, confidence: float) -> OverDraws:
    """Average estimates of several draws, made on the same resamples of the same test images.

    The standard error of the mean joins the spread between draws with the bootstrap's error by patient, which all draws
    share; degrees of freedom by Welch and Satterthwaite (as ``repeats.summary``). patients: the effective number.
    """
    values = np.array([estimate.value for estimate in each])
    samples = np.mean([estimate.samples for estimate in each], axis=0)
    samples = samples[np.isfinite(samples)]
    if not np.isfinite(values).all() or len(samples) < 2 or not patients >= 2:
        return OverDraws(float(values.mean()), np.nan, np.nan, np.nan)
    mean, by_draw = float(values.mean()), float(values.var(ddof=1)) / len(values)
    by_patient = float(samples.var(ddof=1)) * patients / (patients - 1)  # the bootstrap divides by n, a t-test by n - 1
    error = np.sqrt(by_draw + by_patient)
    if error < ROUNDING:
        return OverDraws(mean, mean, mean, float(abs(mean) < ROUNDING))
    degrees = degrees_of_freedom(by_draw, len(values), by_patient, patients)
    margin = stats.t.ppf((1 + confidence) / 2, degrees) * error
    return OverDraws(mean, mean - margin, mean + margin, float(2 * stats.t.sf(abs(mean) / error, degrees)))


def write(*, trainings: Sequence[Training], settings: Evaluation, seed: int, table: Path, tell: Journal) -> None:
    """Write the comparison of the variants (`Compared.table`)."""
    truth = pd.concat([splits.read_split(path) for path in trainings[0].test], ignore_index=True)
    trained: dict[str, list[Maps]] = {}
    for each in trainings:
        trained.setdefault(each.variant, []).append(Maps.read(each))
    resampling = Resampling(settings.bootstrap, settings.confidence, seed)
    compared = Compared(trained, _targets(truth), truth["patient"].to_numpy(), resampling)
    compared.table().to_csv(table, index=False, float_format="%.6g")
    tell(f"{len(trainings)} trainings of {len(trained)} variants, {len(truth)} test images")
