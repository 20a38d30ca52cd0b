"""What the paper's comparisons claim, measured: differences that no single metric table holds.

Each is a value with the interval of a bootstrap by patient and, where an image-free predictor can be put in the same place, that
predictor's own value as the floor and the paired difference of the two. The report's ledger judges them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cxr.boxes import cell_targets
from cxr.labels import FINDINGS, LABELS, NO_FINDING
from cxr.metrics import evaluation, judging
from cxr.metrics.areas import area_estimates, cell_scores
from cxr.metrics.bootstrap import Estimate, Resampling, bootstrap_weights, minus, weighted_ratios
from cxr.metrics.chance import accuracies
from cxr.metrics.classification import fewer_patients, mean_labels
from cxr.metrics.detection import large_subsets
from cxr.metrics.floors import MEAN_MASK
from cxr.metrics.guesses import SIGMOID, SOFTMAX, Guess, columns, mean_areas
from cxr.metrics.ladder import CONSTANT
from cxr.metrics.pooling import Pooled
from cxr.metrics.tested import Tested, in_both
from cxr.runtime.jobs import Job
from cxr.runtime.journal import Journal
from cxr.settings import Evaluation

CLAIM_COLUMNS = [
    "subject", "measure", "value", "low", "high", "floor", "floor_low", "floor_high", "floor_name", "difference",
    "difference_low", "difference_high", "p", "p_floor", "images", "patients",
]  # fmt: skip
MAJORITY = "majority classifier"
SWITCHED = "sigmoid - softmax"  # subject of the differences between the two baselines
Row = dict[str, object]


def row(
    subject: str,
    measure: str,
    value: Estimate,
    floor: Estimate | None,
    floor_name: str,
    patients: np.ndarray,
    confidence: float,
) -> Row:
    """Write a measurement; patients: (N,) of the images that tell of it. Without a floor, its columns are NaN.

    p, p_floor: of the value against 0, and of the difference to the floor (`judging.p_value`).
    """
    nothing = Estimate(np.nan, np.full_like(value.samples, np.nan))
    found: Row = {"subject": subject, "measure": measure, "floor_name": floor_name}
    below = nothing if floor is None else floor
    for name, estimate in (("value", value), ("floor", below), ("difference", minus(value, below))):
        before = "" if name == "value" else f"{name}_"
        found[name] = estimate.value
        found[f"{before}low"], found[f"{before}high"] = estimate.interval(confidence)
    effective = judging.effective_patients(patients)
    found |= {
        "p": judging.p_value(value, effective),
        "p_floor": judging.p_value(minus(value, below), effective),
    }
    return found | {"images": len(patients), "patients": len(np.unique(patients))}


MEASURES = {  # measure: (activation whose score it is, name of the score, its name in a ladder)
    "binary accuracy": (SIGMOID, "accuracy", "accuracy"),
    "categorical accuracy": (SOFTMAX, "accuracy", "softmax_accuracy"),
    "binary loss": (SIGMOID, "loss", "loss"),
    "categorical loss": (SOFTMAX, "loss", "softmax_loss"),
}
AS_PRINTED = {  # what the paper compares: the softmax by the second, the sigmoid by the first
    "accuracy as printed": ("binary accuracy", "categorical accuracy"),
    "loss as printed": ("binary loss", "categorical loss"),
}


def both_ways(softmax: Tested, sigmoid: Tested, resampling: Resampling) -> Iterator[Row]:
    """Score both baselines by both accuracies and both losses, and by the two that the paper compares.

    Binary: over 15 labels at 0.5, or the mean binary cross-entropy. Categorical: the highest output is the image's first label,
    or the categorical cross-entropy of the outputs scaled to sum 1, with multi-hot targets as Keras takes them. The difference
    is the sigmoid's minus the softmax's, on the same test images. By one measure both have one floor, so it has none.
    """
    patients, targets = sigmoid.truth["patient"].to_numpy(), sigmoid.targets
    weights = bootstrap_weights(patients, resampling.samples, resampling.seed)
    scores = {each.name: _scores(each.guess, targets, weights) for each in (softmax, sigmoid)}
    best = {measure: sigmoid.ladder.floor(key, "") for measure, (_, _, key) in MEASURES.items()}
    said = {name: _scores(sigmoid.ladder.guesses[name], targets, weights) for name in set(best.values())}
    floors = {measure: said[name][measure] for measure, name in best.items()}

    def written(subject: str, measure: str, value: Estimate, floor: Estimate | None, name: str) -> Row:
        return row(subject, measure, value, floor, name, patients, resampling.confidence)

    for measure in MEASURES:
        for each in (softmax, sigmoid):
            yield written(each.name, measure, scores[each.name][measure], floors[measure], best[measure])
        gain = minus(scores[sigmoid.name][measure], scores[softmax.name][measure])
        yield written(SWITCHED, measure, gain, None, "")
    for measure, (after, before) in AS_PRINTED.items():
        gain = minus(scores[sigmoid.name][after], scores[softmax.name][before])
        floor = minus(floors[after], floors[before])
        yield written(SWITCHED, measure, gain, floor, f"{best[after]} minus {best[before]}")


def _scores(guess: Guess, targets: np.ndarray, weights: np.ndarray) -> dict[str, Estimate]:
    found = {}
    for measure, (activation, name, _) in MEASURES.items():
        (column,) = (each for each in columns(guess, targets, activation) if (each.metric, each.label) == (name, ""))
        found[measure] = weighted_ratios(column.numerator[:, None], column.denominator[:, None], weights)[0]
    return found


def of_transfer(pair: Tested, resampling: Resampling) -> Iterator[Row]:
    """Compare a pair's long run with the majority classifier of its training images, on the test images.

    In accuracy over 15 labels, by the highest output, and of "No Finding" (lead over the majority classifier); and by the
    share of the images with "No Finding", and of all the findings on the images, that are predicted at 0.5.
    """
    targets, patients, guess = pair.targets, pair.truth["patient"].to_numpy(), pair.guess
    constant = pair.ladder.guesses[CONSTANT]
    weights = bootstrap_weights(patients, resampling.samples, resampling.seed)
    none, ill = LABELS.index(NO_FINDING), targets[:, : len(FINDINGS)]
    leads = _right(guess, targets) - _right(constant, targets)
    for at, measure in enumerate(("binary accuracy", "categorical accuracy", "No Finding accuracy")):
        lead = weighted_ratios(leads[:, [at]], np.ones((len(leads), 1)), weights)[0]
        yield row(f"{pair.name} - majority", measure, lead, None, "", patients, resampling.confidence)
    for measure, present, at in (("No Finding found", targets[:, [none]], [none]), ("findings found", ill, slice(14))):
        found = [
            weighted_ratios(
                (present * (each.probabilities[:, at] > 0.5)).sum(axis=1, keepdims=True),
                present.sum(axis=1, keepdims=True),
                weights,
            )[0]
            for each in (guess, constant)
        ]
        yield row(pair.name, measure, *found, MAJORITY, patients[present.any(axis=1)], resampling.confidence)


def _right(guess: Guess, targets: np.ndarray) -> np.ndarray:
    """What is right on each image, (N, 3) (`chance.accuracies`)."""
    return accuracies((guess.probabilities > 0.5) == targets, guess.first, targets)


def against_baseline(baseline: Tested, pair: Tested, resampling: Resampling) -> Iterator[Row]:
    """Subtract a pair's scores from the baseline's, on the test images that both have; nothing where they share none.

    The floor is the same difference of the image-free predictors that stand below the two, each fitted on the training images
    of its own. The mean AUROC is over the findings that enough patients have (`classification.mean_labels`).
    """
    shared = in_both(pair, baseline)
    if not shared:
        return
    sides = [each.of(shared) for each in (baseline, pair)]
    targets, patients = sides[1].targets, sides[1].truth["patient"].to_numpy()
    weights = bootstrap_weights(patients, resampling.samples, resampling.seed)
    labels = mean_labels(fewer_patients(targets, patients), len(FINDINGS))
    measures = {
        "binary accuracy": ("accuracy", "", lambda guess: _scores(guess, targets, weights)["binary accuracy"]),
        "AUROC": ("auroc", "mean14", lambda guess: mean_areas(guess, targets, labels, weights)[0]),
    }
    for measure, (metric, label, score) in measures.items():
        names = [each.ladder.floor(metric, label) for each in sides]
        ours = minus(*(score(each.guess) for each in sides))
        floor = minus(*(score(each.ladder.guesses[name]) for each, name in zip(sides, names, strict=True)))
        subject = f"{baseline.name} - {pair.name}"
        yield row(subject, measure, ours, floor, " minus ".join(names), patients, resampling.confidence)


def of_large_boxes(pooled: Pooled, resampling: Resampling) -> Iterator[Row]:
    """Subtract the F1 over all boxed images from that over the images with a large box, confidences as areas.

    The floor is the same difference of the mean training mask, whose shares are its confidences. patients: those with such a
    box, for each reading of "large" (`boxes.is_large`).
    """
    weights = bootstrap_weights(pooled.patients, resampling.samples, resampling.seed)
    mask = pooled.maps(lambda floors: {MEAN_MASK: floors.maps[MEAN_MASK]}, pooled.everywhere)[MEAN_MASK]
    whole = cell_targets([image.boxes for image in pooled.drawn])

    def score(confidences: np.ndarray, target: np.ndarray, counted: np.ndarray) -> Estimate:
        return area_estimates(cell_scores(target, confidences), counted, weights)[2]

    for subset, _, boxes in large_subsets(pooled.drawn):
        has = np.array([len(each) > 0 for each in boxes], dtype=bool)
        target = cell_targets(boxes)
        gains = [
            minus(score(each, target, has), score(each, whole, np.ones(len(has), dtype=bool)))
            for each in (pooled.answers.cells, mask)
        ]
        yield row(
            "gridcnn", f"f1_weighted, {subset} - all", *gains, MEAN_MASK, pooled.patients[has], resampling.confidence
        )


def of_two_detectors(first: Pooled, second: Pooled, names: tuple[str, str], resampling: Resampling) -> Row:
    """Subtract the F1 (cells, cut at the threshold) of the second detector from that of the first, on the same images."""
    weights = bootstrap_weights(first.patients, resampling.samples, resampling.seed)
    everywhere = np.ones(len(first.patients), dtype=bool)
    target = cell_targets([image.boxes for image in first.drawn])
    scores = [area_estimates(cell_scores(target, each.marked), everywhere, weights)[2] for each in (first, second)]
    return row(" - ".join(names), "f1", minus(*scores), None, "", first.patients, resampling.confidence)


@dataclass(frozen=True)
class Inputs:
    """The files of a protocol: predictions of the two baselines (softmax, sigmoid), their test split and floors; for each chosen
    pair its name, predictions, test split and floors; and the fold files of the grid CNN and of the fine-tuned YOLO, if any.
    """

    baselines: Sequence[Path]
    baseline_test: Path
    baseline_floors: Path
    pairs: Sequence[tuple[str, Path, Path, Path]]
    detectors: Mapping[str, Sequence[evaluation.FoldFiles]]

    @classmethod
    def of(cls, job: Job) -> "Inputs":
        """Return those of a workflow's job; `long_` inputs are in the order of its param `pairs`."""
        given = job.input
        pairs = zip(job.params.pairs, given.long_predictions, given.long_test, given.long_floors, strict=True)
        boxed = (given.boxed_train, given.boxed_validation, given.boxed_test)
        detectors = {
            name: [
                evaluation.FoldFiles(*map(Path, fold))
                for fold in zip(given[files], given[f"{files}_validation"], *boxed, strict=True)
            ]
            for name in job.params.thresholds
            for files in ["gridcnn" if name == "gridcnn" else "yolo"]
        }
        return cls(
            [Path(path) for path in given.baselines],
            Path(given.baseline_test),
            Path(given.baseline_floors),
            [(f"transfer_{pair}", *map(Path, paths)) for pair, *paths in pairs],
            detectors,
        )


def write(
    *,
    inputs: Inputs,
    thresholds: Mapping[str, tuple[float, bool]],
    settings: Evaluation,
    seed: int,
    table: Path,
    tell: Journal,
) -> None:
    """Write the measurements, columns ``CLAIM_COLUMNS``.

    thresholds: of each detector the threshold of the settings, and whether it is chosen on the validation images instead.
    """
    resampling = Resampling(settings.bootstrap, settings.confidence, seed)
    softmax, sigmoid = (
        Tested.read(f"baseline_{name}", path, inputs.baseline_test, inputs.baseline_floors)
        for name, path in zip(("softmax", "sigmoid"), inputs.baselines, strict=True)
    )
    pairs = [Tested.read(*each) for each in inputs.pairs]
    pooled = {
        name: Pooled.of(evaluation.read_folds(files, *thresholds[name], tell), name, seed)
        for name, files in inputs.detectors.items()
    }
    rows = [*both_ways(softmax, sigmoid, resampling)]
    for pair in pairs:
        rows += [*of_transfer(pair, resampling), *against_baseline(sigmoid, pair, resampling)]
    rows += of_large_boxes(pooled["gridcnn"], resampling)
    rows += [
        of_two_detectors(pooled["gridcnn"], pooled[yolo], ("gridcnn", yolo), resampling)
        for yolo in pooled
        if yolo != "gridcnn"
    ]
    pd.DataFrame(rows, columns=CLAIM_COLUMNS).to_csv(table, index=False, float_format="%.6g")
