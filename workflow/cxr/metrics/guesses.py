"""What a predictor says of the labels of images, and the scores of that: one code for models and image-free predictors."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from cxr.labels import FINDINGS, LABELS
from cxr.metrics.bootstrap import Estimate, mean_of
from cxr.metrics.constants import ClassificationFloors
from cxr.metrics.ranking import expected_average_precision, ranking_scores

EPSILON = 1e-7  # probabilities are clipped to [EPSILON, 1 - EPSILON], as Keras does
SIGMOID, SOFTMAX = "sigmoid", "softmax"
AMONG_FINDINGS = "findings"  # label of a softmax's scores on images with a finding, over the outputs of the findings


@dataclass(frozen=True)
class Guess:
    """A predictor's word on N images.

    probabilities: (N, 15) float64, in the order of ``LABELS``. first: (N,) index of the label that it takes for the image's
    first; finding: (N,) the same, of a finding. sets: (N, 15) of 0 and 1, the labels that it takes for the image's.
    """

    probabilities: np.ndarray
    first: np.ndarray
    finding: np.ndarray
    sets: np.ndarray

    @classmethod
    def of_model(cls, probabilities: np.ndarray) -> "Guess":
        """Read a network's outputs as Keras does: the highest one, and those above 0.5."""
        findings = probabilities[:, : len(FINDINGS)].argmax(axis=1)
        return cls(probabilities, probabilities.argmax(axis=1), findings, probabilities > 0.5)

    @classmethod
    def empty(cls, count: int) -> "Guess":
        nothing, first = np.full((count, len(LABELS)), np.nan), np.zeros(count, np.int64)
        return cls(nothing, first, first.copy(), np.zeros((count, len(LABELS)), bool))

    def put(self, where: np.ndarray, other: "Guess") -> None:
        """Fill in what another guess says of the images `where` (N,) bool."""
        self.probabilities[where], self.first[where] = other.probabilities, other.first
        self.finding[where], self.sets[where] = other.finding, other.sets

    def shares(self, labels: int = len(LABELS)) -> np.ndarray:
        """Scale the probabilities of the first so many labels to sum 1 per image; where all are 0, they become equal.

        Of all outputs that sum to 1, the shares of a predictor of each label have the least categorical cross-entropy.
        """
        wanted = self.probabilities[:, :labels]
        total = wanted.sum(axis=1, keepdims=True)
        return np.divide(wanted, total, out=np.full_like(wanted, 1 / labels), where=total > 0)


@dataclass(frozen=True)
class Column:
    """A score that is Σ w·numerator / Σ w·denominator over images; both (N,) float64."""

    metric: str
    label: str
    numerator: np.ndarray
    denominator: np.ndarray


def guess_constant(fitted: ClassificationFloors, count: int) -> Guess:
    """Say the constants of every score about this many images."""
    whole = np.tile(fitted.prevalence, (count, 1))
    first, finding = np.full(count, fitted.first_label), np.full(count, fitted.first_finding)
    return Guess(whole, first, finding, np.tile(fitted.label_set, (count, 1)))


def best_sets(probabilities: np.ndarray) -> np.ndarray:
    """The labels above 0.5 of each image, or the likeliest one where there is none: (N, 15) bool."""
    likeliest = np.arange(probabilities.shape[1]) == probabilities.argmax(axis=1)[:, None]
    above = probabilities > 0.5
    return np.where(above.any(axis=1, keepdims=True), above, likeliest)


def columns(guess: Guess, targets: np.ndarray, activation: str) -> Iterator[Column]:
    """The scores of a guess that are means over images; targets: (N, 15) of 0 and 1."""
    return (_sigmoid if activation == SIGMOID else _softmax)(guess, np.asarray(targets, dtype=np.float64))


def _sigmoid(guess: Guess, targets: np.ndarray) -> Iterator[Column]:
    ones, findings = np.ones(len(targets)), len(FINDINGS)
    right = (guess.probabilities > 0.5) == targets
    loss = binary_cross_entropy(targets, guess.probabilities)
    for name, matrix in (("loss", loss), ("accuracy", right)):
        yield Column(name, "", matrix.mean(axis=1), ones)
        yield Column(name, "mean14", matrix[:, :findings].mean(axis=1), ones)
        for index, label in enumerate(LABELS):
            yield Column(name, label, matrix[:, index].astype(np.float64), ones)
    yield Column("subset_accuracy", "", (guess.sets == targets).all(axis=1).astype(np.float64), ones)
    for index, label in enumerate(LABELS):
        present = targets[:, index]
        yield Column("label_sensitivity", label, present * (guess.probabilities[:, index] > 0.5), present)


def _softmax(guess: Guess, targets: np.ndarray) -> Iterator[Column]:
    ones = np.ones(len(targets))
    yield Column("loss", "", categorical_cross_entropy(targets, guess.shares()), ones)
    yield Column("accuracy", "", (guess.first == targets.argmax(axis=1)).astype(np.float64), ones)
    ill = targets[:, : len(FINDINGS)]
    any_finding = ill.any(axis=1).astype(np.float64)
    loss = categorical_cross_entropy(ill, guess.shares(len(FINDINGS)))
    yield Column("loss", AMONG_FINDINGS, any_finding * loss, any_finding)
    yield Column("accuracy", AMONG_FINDINGS, any_finding * (guess.finding == ill.argmax(axis=1)), any_finding)
    for index, label in enumerate(LABELS):
        present = targets[:, index]
        yield Column("label_sensitivity", label, present * (guess.first == index), present)


def areas(guess: Guess, targets: np.ndarray, at: int, weights: np.ndarray) -> tuple[Estimate, Estimate]:
    """Estimate AUROC and AUPRC of one label (its index) for resampled images.

    targets: (N, 15) of 0 and 1. weights: (B, N) from ``bootstrap_weights``. A predictor that says the same of all images
    ranks at random: its AUPRC is the expected average precision of that (`ranking.expected_average_precision`), not the
    prevalence, which it exceeds where positives are few. In a resample it moves with the prevalence.
    """
    truth, scores = targets[:, at], guess.probabilities[:, at]
    once = np.ones((1, len(truth)), dtype=np.uint16)
    values, drawn = (ranking_scores(truth, scores, each) for each in (once, weights))
    found = [Estimate(float(value[0]), samples) for value, samples in zip(values, drawn, strict=True)]
    if len(truth) and np.ptp(scores) == 0:
        above = expected_average_precision(int(truth.sum()), len(truth)) - found[1].value
        found[1] = Estimate(found[1].value + above, found[1].samples + above)
    return found[0], found[1]


def mean_areas(
    guess: Guess, targets: np.ndarray, labels: Sequence[int], weights: np.ndarray
) -> tuple[Estimate, Estimate]:
    """Estimate the means of AUROC and AUPRC over labels (their indices), as `areas` does each; NaN without a label."""
    if not len(labels):
        nothing = Estimate(np.nan, np.full(len(weights), np.nan))
        return nothing, nothing
    auroc, auprc = zip(*(areas(guess, targets, at, weights) for at in labels), strict=True)
    return mean_of(auroc), mean_of(auprc)


def point_scores(guess: Guess, targets: np.ndarray, fold: np.ndarray) -> dict[tuple[str, str], float]:
    """Score a guess without intervals: (metric, label) -> value, NaN where undefined.

    fold: (N,) int. AUROC and AUPRC rank the images of a fold among themselves, because predictors fitted for different
    folds differ by an offset; the mean over folds is weighted by positives. They have a row per label, and the means over
    the labels for which they are defined. Metrics of a softmax output have "softmax_" before their name.
    """
    found: dict[tuple[str, str], float] = {}
    for before, activation in (("", SIGMOID), ("softmax_", SOFTMAX)):
        for column in columns(guess, targets, activation):
            total = column.denominator.sum()
            value = column.numerator.sum() / total if total else np.nan
            found[before + column.metric, column.label] = float(value)
    by_label = np.array([_folded_areas(guess.probabilities[:, at], targets[:, at], fold) for at in range(len(LABELS))])
    for metric, values in zip(("auroc", "auprc"), by_label.T, strict=True):
        for label, count in (("mean14", len(FINDINGS)), ("mean15", len(LABELS))):
            defined = values[:count][np.isfinite(values[:count])]
            found[metric, label] = float(defined.mean()) if len(defined) else np.nan
        found |= {(metric, label): float(value) for label, value in zip(LABELS, values, strict=True)}
    return found


def _folded_areas(scores: np.ndarray, truth: np.ndarray, fold: np.ndarray) -> tuple[float, float]:
    found, positives = [], []
    for number in np.unique(fold):
        held = fold == number
        once = np.ones((1, int(held.sum())), dtype=np.uint16)
        auroc, auprc = ranking_scores(truth[held], scores[held], once)
        if np.isfinite(auroc[0]):
            random = np.ptp(scores[held]) == 0
            expected = expected_average_precision(int(truth[held].sum()), int(held.sum())) if random else auprc[0]
            found.append((auroc[0], expected))
            positives.append(int(truth[held].sum()))
    return tuple(np.average(found, axis=0, weights=positives)) if found else (np.nan, np.nan)


def binary_cross_entropy(targets: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Of each image and label: (N, 15) float64."""
    clipped = np.clip(probabilities, EPSILON, 1 - EPSILON)
    return -(targets * np.log(clipped) + (1 - targets) * np.log1p(-clipped))


def categorical_cross_entropy(targets: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Of each image, with multi-hot targets as Keras takes them: -Σ y·log p, (N,) float64."""
    return -(targets * np.log(np.clip(probabilities, EPSILON, 1 - EPSILON))).sum(axis=1)
