"""Classification scores from saved predictions, each beside its image-free floor with intervals by patient.

Nothing is trained or loaded here: a new metric needs the prediction files only. Intervals are percentile bootstraps:
patients, not images, are drawn with replacement, because images of one patient resemble each other. Model and floor
are scored on the same draws, so the interval of their difference is a paired one.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from cxr.errors import InputError
from cxr.floors import ClassificationFloors, fit_classification
from cxr.labels import FINDINGS, LABELS, to_matrix

METRIC_COLUMNS = [
    "protocol",
    "experiment",
    "metric",
    "label",
    "value",
    "low",
    "high",
    "floor",
    "floor_low",
    "floor_high",
    "floor_name",
    "difference",
    "difference_low",
    "difference_high",
    "higher_is_better",
    "support",
    "note",
]
EPSILON = 1e-7  # probabilities are clipped to [EPSILON, 1 - EPSILON], as Keras does
CHUNK = 4_000_000  # weights handled at once: bounds the memory, not the result


@dataclass(frozen=True)
class Estimate:
    """A score on the data (value) and on each bootstrap sample (samples: (B,) float64); NaN where undefined."""

    value: float
    samples: np.ndarray

    def interval(self, confidence: float) -> tuple[float, float]:
        """Percentile interval over the samples in which the score is defined; NaN where the score itself is not."""
        defined = self.samples[np.isfinite(self.samples)]
        if not np.isfinite(self.value) or not len(defined):
            return np.nan, np.nan
        low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
        return float(low), float(high)


def minus(first: Estimate, second: Estimate) -> Estimate:
    """The paired difference of two estimates made on the same bootstrap samples."""
    return Estimate(first.value - second.value, first.samples - second.samples)


def metric_row(
    metric: str,
    label: str,
    score: Estimate,
    floor: Estimate | None,
    floor_name: str,
    *,
    confidence: float,
    higher_is_better: bool,
    support: int,
    note: str = "",
) -> dict[str, object]:
    """Write an estimate and its floor as a row of the metric table (``METRIC_COLUMNS`` less protocol, experiment).

    Without a floor, its columns stay NaN. How many bootstrap samples had no defined score is added to the note.
    """
    nothing = Estimate(np.nan, np.full_like(score.samples, np.nan))
    floor = nothing if floor is None else floor
    difference = minus(score, floor)
    low, high = score.interval(confidence)
    floor_low, floor_high = floor.interval(confidence)
    difference_low, difference_high = difference.interval(confidence)
    undefined = int(np.isnan(score.samples).sum())
    if undefined and np.isfinite(score.value):
        note = "; ".join(filter(None, [note, f"undefined in {undefined} of {len(score.samples)} resamples"]))
    return {
        "metric": metric,
        "label": label,
        "value": score.value,
        "low": low,
        "high": high,
        "floor": floor.value,
        "floor_low": floor_low,
        "floor_high": floor_high,
        "floor_name": floor_name,
        "difference": difference.value,
        "difference_low": difference_low,
        "difference_high": difference_high,
        "higher_is_better": int(higher_is_better),
        "support": support,
        "note": note,
    }


def metric_table(protocol: str, experiment: str, rows: list[dict[str, object]]) -> pd.DataFrame:
    """Gather rows of ``metric_row`` into a table with ``METRIC_COLUMNS``."""
    whole = [{"protocol": protocol, "experiment": experiment, **row} for row in rows]
    return pd.DataFrame(whole, columns=METRIC_COLUMNS)


def bootstrap_weights(patients: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """Draw as many patients as there are, with replacement, `samples` times.

    patients: (N,) the patient of each image. Returns (samples, N) uint16: how often an image's patient was drawn. All
    images of a patient share a weight; a row sums to N only on average, as patients have different numbers of images.
    """
    _, patient_of_image = np.unique(patients, return_inverse=True)
    count = int(patient_of_image.max(initial=-1)) + 1
    draw = np.random.default_rng(seed)
    weights = np.empty((samples, len(patient_of_image)), dtype=np.uint16)
    for row in weights:
        row[:] = np.bincount(draw.integers(count, size=count), minlength=count)[patient_of_image]
    return weights


def weighted_ratios(numerator: np.ndarray, denominator: np.ndarray, weights: np.ndarray) -> list[Estimate]:
    """Estimate Σ w·numerator / Σ w·denominator for each of M columns; NaN where the denominator sums to 0.

    numerator, denominator: (N, M) float; a denominator of ones makes it a mean. weights: (B, N) from
    ``bootstrap_weights``; the value itself has all weights 1.
    """
    numerator, denominator = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    values = ratio(numerator.sum(axis=0), denominator.sum(axis=0))
    parts = [
        ratio(part.astype(np.float64) @ numerator, part.astype(np.float64) @ denominator) for part in chunks(weights)
    ]
    samples = np.concatenate(parts) if parts else np.empty((0, numerator.shape[1]))
    return [Estimate(float(value), samples[:, column]) for column, value in enumerate(values)]


def ranking_scores(truth: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted AUROC and AUPRC of one class, for many sets of weights at once.

    truth: (N,) 0 or 1. scores: (N,) float. weights: (B, N), integers or floats, not negative. Returns (auroc, auprc),
    each (B,) float64, as scikit-learn's roc_auc_score and average_precision_score with sample_weight: tied scores share
    their middle rank in the AUROC, and enter together in the AUPRC (average precision, no interpolation). NaN where a
    set of weights holds no positive, or (AUROC) no negative.
    """
    truth = np.asarray(truth, dtype=bool)
    order = np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")
    ranked = np.asarray(scores)[order]
    first_of_tie = np.append(True, ranked[1:] != ranked[:-1])
    starts = np.flatnonzero(first_of_tie)
    ends = np.append(starts[1:], len(order))
    positives = np.append(0, np.cumsum(truth[order]))  # number of positives ranked before a place
    holds_positive = positives[ends] > positives[starts]
    starts, ends = starts[holds_positive], ends[holds_positive]
    total = np.int64 if np.issubdtype(weights.dtype, np.integer) else np.float64

    auroc, auprc = np.empty(len(weights)), np.empty(len(weights))
    done = 0
    for part in chunks(weights):
        ranked_weights = part[:, order]
        above = running_sums(ranked_weights, total)
        true_above = running_sums(ranked_weights[:, truth[order]], total)
        true_start, true_end = true_above[:, positives[starts]], true_above[:, positives[ends]]
        gained = true_end - true_start
        false_above = (above[:, starts] - true_start + above[:, ends] - true_end) / 2
        all_true, all_false = true_above[:, -1], above[:, -1] - true_above[:, -1]
        below = (gained * (all_false[:, None] - false_above)).sum(axis=1)
        precision = np.divide(true_end, above[:, ends], out=np.zeros(gained.shape), where=above[:, ends] > 0)
        rows = slice(done, done + len(part))
        auroc[rows] = ratio(below, all_true.astype(np.float64) * all_false)
        auprc[rows] = ratio((gained * precision).sum(axis=1), all_true)
        done += len(part)
    return auroc, auprc


def classification_table(
    protocol: str,
    experiment: str,
    predictions: pd.DataFrame,
    truth: pd.DataFrame,
    train: pd.DataFrame,
    *,
    activation: Literal["softmax", "sigmoid"],
    samples: int,
    confidence: float,
    seed: int,
) -> pd.DataFrame:
    """Score a classifier's saved predictions beside the constants fitted on its training split.

    predictions: image and 15 columns of probabilities named by ``LABELS``. truth, train: split tables (image, patient,
    labels). samples: number of bootstrap samples. confidence: level of the intervals. Returns the metric table:

    - loss (label ""): sigmoid: binary cross-entropy, mean over images and 15 labels; softmax: Keras' categorical
      cross-entropy with multi-hot targets, -Σ y·log p, mean over images. Probabilities are clipped at 1e-7.
    - accuracy (label ""): sigmoid: mean over images and 15 labels, with "mean14" for the findings alone and one row a
      label; a label is predicted where its probability exceeds 0.5, as in Keras; softmax: Keras' categorical accuracy,
      the highest probability falls on the image's first label in the order of ``LABELS``.
    - subset_accuracy (sigmoid): all 15 labels right.
    - label_sensitivity, a row a label: share of the images with the label that are given it, by a probability above 0.5
      (sigmoid), or the highest one (softmax).
    - auroc, auprc: a row a label, and "mean14" (findings) and "mean15" over the labels that are defined; the note names
      those that are not.

    support is the number of images, or of images with the label. Raises InputError where predictions and truth do not
    speak of the same images, or probabilities are no probabilities.
    """
    who = f"predictions of {experiment} ({protocol})"
    probabilities = aligned_probabilities(predictions, truth, who)
    targets = to_matrix(truth["labels"]).astype(np.float64)
    floors = fit_classification(to_matrix(train["labels"]))
    weights = bootstrap_weights(truth["patient"].to_numpy(), samples, seed)
    columns = _sigmoid_columns if activation == "sigmoid" else _softmax_columns
    rows = _mean_rows(list(columns(probabilities, targets, floors)), weights, confidence)
    rows += _ranking_rows(probabilities, targets, weights, confidence)
    return metric_table(protocol, experiment, rows)


def aligned_probabilities(predictions: pd.DataFrame, truth: pd.DataFrame, who: str) -> np.ndarray:
    """Bring predictions into the order of the truth: (N, 15) float64.

    who: names the predictions in messages. Raises InputError naming the images only one of the two has, images that
    come twice, missing columns, and values outside [0, 1].
    """
    if not len(truth):
        raise InputError(f"{who}: the split to score on holds no image; enlarge it")
    missing = [column for column in ("image", *LABELS) if column not in predictions]
    if missing:
        raise InputError(f"{who}: column '{missing[0]}' is missing; predict again")
    check_same_images(predictions["image"], truth["image"], who)
    probabilities = predictions.set_index("image").loc[truth["image"], list(LABELS)].to_numpy(np.float64)
    wrong = ~((probabilities >= 0) & (probabilities <= 1)).all(axis=1)
    if wrong.any():
        raise InputError(
            f"{who}: {wrong.sum()} images have a value that is no probability "
            f"(first: {first_names(truth['image'][wrong])}); the training diverged, or the file was altered"
        )
    return probabilities


def check_same_images(found: pd.Series, expected: pd.Series, who: str) -> None:
    """Raise InputError, with counts and first names, unless both name the same images, each once."""
    for images, where in ((found, "the predictions"), (expected, "the split")):
        if images.duplicated().any():
            twice = images[images.duplicated()]
            raise InputError(f"{who}: {len(twice)} images come more than once in {where} (first: {first_names(twice)})")
    lacking, foreign = expected[~expected.isin(found)], found[~found.isin(expected)]
    problems = []
    if len(lacking):
        problems.append(
            f"{len(lacking)} of {len(expected)} images of the split are missing (first: {first_names(lacking)})"
        )
    if len(foreign):
        problems.append(f"{len(foreign)} images are not in the split (first: {first_names(foreign)})")
    if problems:
        raise InputError(f"{who}: {' and '.join(problems)}; predictions and split are of different runs: predict again")


@dataclass(frozen=True)
class _Column:
    """A score that is Σ w·numerator / Σ w·denominator: numerators of model and floor, (N,) each."""

    metric: str
    label: str
    model: np.ndarray
    floor: np.ndarray
    floor_name: str
    denominator: np.ndarray
    higher_is_better: bool = True


def _sigmoid_columns(probabilities: np.ndarray, targets: np.ndarray, floors: ClassificationFloors) -> Iterator[_Column]:
    ones, findings = np.ones(len(targets)), len(FINDINGS)
    predicted = probabilities > 0.5
    right, floor_right = predicted == targets, floors.majority == targets
    loss = _binary_cross_entropy(targets, probabilities).mean(axis=1)
    floor_loss = _binary_cross_entropy(targets, floors.prevalence).mean(axis=1)
    majority = "majority of each label in training"
    yield _Column("loss", "", loss, floor_loss, "training prevalence", ones, higher_is_better=False)
    yield _Column("accuracy", "", right.mean(axis=1), floor_right.mean(axis=1), majority, ones)
    means = (matrix[:, :findings].mean(axis=1) for matrix in (right, floor_right))
    yield _Column("accuracy", "mean14", *means, majority, ones)
    for index, label in enumerate(LABELS):
        yield _Column("accuracy", label, right[:, index], floor_right[:, index], majority, ones)
    exact = (targets == floors.label_set).all(axis=1)
    name = f"most frequent label set in training: {floors.label_set_name}"
    yield _Column("subset_accuracy", "", right.all(axis=1), exact, name, ones)
    for index, label in enumerate(LABELS):
        present = targets[:, index]
        hits, floor_hits = present * predicted[:, index], present * floors.majority[index]
        yield _Column("label_sensitivity", label, hits, floor_hits, majority, present)


def _softmax_columns(probabilities: np.ndarray, targets: np.ndarray, floors: ClassificationFloors) -> Iterator[_Column]:
    ones = np.ones(len(targets))
    first, guess = targets.argmax(axis=1), probabilities.argmax(axis=1)
    loss = _categorical_cross_entropy(targets, probabilities)
    floor_loss = _categorical_cross_entropy(targets, floors.prior)
    always = f"always {LABELS[floors.first_label]}"
    yield _Column("loss", "", loss, floor_loss, "training prior", ones, higher_is_better=False)
    yield _Column("accuracy", "", guess == first, first == floors.first_label, always, ones)
    for index, label in enumerate(LABELS):
        present = targets[:, index]
        hits, floor_hits = present * (guess == index), present * (floors.first_label == index)
        yield _Column("label_sensitivity", label, hits, floor_hits, always, present)


def _mean_rows(columns: list[_Column], weights: np.ndarray, confidence: float) -> list[dict[str, object]]:
    denominators = np.stack([column.denominator for column in columns], axis=1)
    models = weighted_ratios(np.stack([column.model for column in columns], axis=1), denominators, weights)
    floors = weighted_ratios(np.stack([column.floor for column in columns], axis=1), denominators, weights)
    return [
        metric_row(
            column.metric,
            column.label,
            model,
            floor,
            column.floor_name,
            confidence=confidence,
            higher_is_better=column.higher_is_better,
            support=int(column.denominator.sum()),
            note="" if np.isfinite(model.value) else "no image has the label",
        )
        for column, model, floor in zip(columns, models, floors, strict=True)
    ]


def _ranking_rows(
    probabilities: np.ndarray, targets: np.ndarray, weights: np.ndarray, confidence: float
) -> list[dict[str, object]]:
    once = np.ones((1, len(targets)), dtype=np.uint16)
    areas: dict[str, list[Estimate]] = {"auroc": [], "auprc": []}
    for index in range(len(LABELS)):
        values = ranking_scores(targets[:, index], probabilities[:, index], once)
        resampled = ranking_scores(targets[:, index], probabilities[:, index], weights)
        for name, value, drawn in zip(areas, values, resampled, strict=True):
            areas[name].append(Estimate(float(value[0]), drawn))
    prevalences = weighted_ratios(targets, np.ones_like(targets), weights)
    halves = [Estimate(0.5, np.full(len(weights), 0.5))] * len(LABELS)
    halves, prevalences = (
        [_where_defined(floor, score) for floor, score in zip(constants, areas[name], strict=True)]
        for name, constants in (("auroc", halves), ("auprc", prevalences))
    )
    floors = {"auroc": (halves, "any constant: 0.5"), "auprc": (prevalences, "any constant: test prevalence")}
    rows = []
    for metric, scores in areas.items():
        constants, floor_name = floors[metric]
        for label, count in (("mean14", len(FINDINGS)), ("mean15", len(LABELS))):
            undefined = [name for name, score in zip(LABELS, scores[:count], strict=False) if np.isnan(score.value)]
            note = f"mean over {count - len(undefined)} labels; undefined: {', '.join(undefined)}" if undefined else ""
            means = mean_of_defined(scores[:count]), mean_of_defined(constants[:count])
            rows.append((metric, label, *means, floor_name, len(targets), note))
        for label, score, constant, present in zip(LABELS, scores, constants, targets.T, strict=True):
            counts = f"{int(present.sum())} of {len(present)} images have the label"
            note = "" if np.isfinite(score.value) else f"undefined: {counts}"
            rows.append((metric, label, score, constant, floor_name, int(present.sum()), note))
    return [
        metric_row(*row[:5], confidence=confidence, higher_is_better=True, support=row[5], note=row[6]) for row in rows
    ]


def _where_defined(floor: Estimate, score: Estimate) -> Estimate:
    """The floor, but NaN wherever the score it stands beside is."""
    value = floor.value if np.isfinite(score.value) else np.nan
    return Estimate(value, np.where(np.isnan(score.samples), np.nan, floor.samples))


def mean_of_defined(estimates: list[Estimate]) -> Estimate:
    """Mean over the estimates with a defined value; where a resample leaves one undefined, over the others."""
    defined = [estimate for estimate in estimates if np.isfinite(estimate.value)]
    if not defined:
        return Estimate(np.nan, np.full_like(estimates[0].samples, np.nan))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        samples = np.nanmean([estimate.samples for estimate in defined], axis=0)
    return Estimate(float(np.mean([estimate.value for estimate in defined])), samples)


def _binary_cross_entropy(targets: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    clipped = np.clip(probabilities, EPSILON, 1 - EPSILON)
    return -(targets * np.log(clipped) + (1 - targets) * np.log1p(-clipped))


def _categorical_cross_entropy(targets: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    return -(targets * np.log(np.clip(probabilities, EPSILON, 1 - EPSILON))).sum(axis=1)


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divide; NaN where the denominator is 0."""
    undefined = np.full(np.shape(numerator), np.nan)
    return np.divide(numerator, denominator, out=undefined, where=np.asarray(denominator) > 0)


def chunks(weights: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the bootstrap samples in pieces of about ``CHUNK`` weights."""
    rows = max(1, CHUNK // max(1, weights.shape[1]))
    for start in range(0, len(weights), rows):
        yield weights[start : start + rows]


def running_sums(weights: np.ndarray, dtype: type) -> np.ndarray:
    """Sums before each place: (B, N) -> (B, N + 1), the first column 0."""
    sums = np.zeros((weights.shape[0], weights.shape[1] + 1), dtype=dtype)
    np.cumsum(weights, axis=1, dtype=dtype, out=sums[:, 1:])
    return sums


def first_names(names: pd.Series, count: int = 3) -> str:
    return ", ".join(map(str, names.head(count)))
