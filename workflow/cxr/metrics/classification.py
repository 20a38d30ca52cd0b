"""Classification scores from saved predictions, each beside its image-free floor, with patient-level intervals.

No model is trained or loaded here: a new metric needs only the prediction files. Intervals: see `bootstrap`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from cxr.errors import InputError
from cxr.labels import FINDINGS, LABELS, to_matrix
from cxr.metrics.bootstrap import Estimate, bootstrap_weights, mean_of_defined, weighted_ratios
from cxr.metrics.floors import ClassificationFloors, fit_classification
from cxr.metrics.guesses import binary_cross_entropy, categorical_cross_entropy
from cxr.metrics.ranking import ranking_scores
from cxr.metrics.table import metric_row, metric_table


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

    predictions: image and 15 columns of probabilities, named as in ``LABELS``. truth, train: split tables (image, patient,
    labels). samples: number of bootstrap samples. confidence: level of the intervals. Returns the metric table:

    - loss (label ""): sigmoid: binary cross-entropy, mean over images and 15 labels; softmax: Keras' categorical
      cross-entropy with multi-hot targets, -Σ y·log p, mean over images. Probabilities are clipped at 1e-7.
    - accuracy (label ""): sigmoid: mean over images and 15 labels, with "mean14" for the findings alone and one row
      per label; a label is predicted where its probability exceeds 0.5, as in Keras; softmax: Keras' categorical
      accuracy, the share of images whose highest probability is that of their first label in the order of ``LABELS``.
    - subset_accuracy (sigmoid): share of images with all 15 labels right.
    - label_sensitivity, a row per label: share of the images with the label for which it is predicted, by a probability
      above 0.5 (sigmoid) or by the highest one (softmax).
    - auroc, auprc: a row per label, and "mean14" (findings) and "mean15" over the labels for which they are defined; the
      note names the others.

    support is the number of images, or of images with the label. Raises InputError where predictions and truth do not
    cover the same images, or a probability lies outside [0, 1].
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
    """Return predictions in the order of the truth: (N, 15) float64.

    who: names the predictions in messages. Raises InputError, naming them, for images that only one of the two has,
    repeated images, missing columns, and values outside [0, 1].
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
            f"{who}: {wrong.sum()} images have a value that is not a probability "
            f"(first: {first_names(truth['image'][wrong])}); the training diverged, or the file was altered"
        )
    return probabilities


def check_same_images(found: pd.Series, expected: pd.Series, who: str) -> None:
    """Raise InputError, with counts and first names, unless both name the same images, each once."""
    for images, where in ((found, "the predictions"), (expected, "the split")):
        if images.duplicated().any():
            twice = images[images.duplicated()]
            raise InputError(
                f"{who}: {len(twice)} images occur more than once in {where} (first: {first_names(twice)})"
            )
    lacking, foreign = expected[~expected.isin(found)], found[~found.isin(expected)]
    problems = []
    if len(lacking):
        problems.append(
            f"{len(lacking)} of {len(expected)} images of the split are missing (first: {first_names(lacking)})"
        )
    if len(foreign):
        problems.append(f"{len(foreign)} images are not in the split (first: {first_names(foreign)})")
    if problems:
        raise InputError(
            f"{who}: {' and '.join(problems)}; predictions and split come from different runs: predict again"
        )


@dataclass(frozen=True)
class _Column:
    """A score that is Σ w·numerator / Σ w·denominator: numerators of model and floor, (N,) each."""

    metric: str
    label: str
    model: np.ndarray
    floor: np.ndarray
    floor_name: str
    denominator: np.ndarray


def _sigmoid_columns(probabilities: np.ndarray, targets: np.ndarray, floors: ClassificationFloors) -> Iterator[_Column]:
    ones, findings = np.ones(len(targets)), len(FINDINGS)
    predicted = probabilities > 0.5
    right, floor_right = predicted == targets, floors.majority == targets
    loss = binary_cross_entropy(targets, probabilities).mean(axis=1)
    floor_loss = binary_cross_entropy(targets, floors.prevalence).mean(axis=1)
    majority = "majority of each label in training"
    yield _Column("loss", "", loss, floor_loss, "training prevalence", ones)
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
    loss = categorical_cross_entropy(targets, probabilities)
    floor_loss = categorical_cross_entropy(targets, floors.prior)
    always = f"always {LABELS[floors.first_label]}"
    yield _Column("loss", "", loss, floor_loss, "training prior", ones)
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
    return [metric_row(*row[:5], confidence=confidence, support=row[5], note=row[6]) for row in rows]


def _where_defined(floor: Estimate, score: Estimate) -> Estimate:
    """The floor, with NaN wherever its score is NaN."""
    value = floor.value if np.isfinite(score.value) else np.nan
    return Estimate(value, np.where(np.isnan(score.samples), np.nan, floor.samples))


def first_names(names: pd.Series, count: int = 3) -> str:
    return ", ".join(map(str, names.head(count)))
