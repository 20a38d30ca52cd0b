"""Classification scores from saved predictions, each beside its image-free floor, with patient-level intervals.

No model is trained or loaded here: a new metric needs only the prediction files. Intervals: see `bootstrap`.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from cxr.errors import InputError
from cxr.labels import FINDINGS, LABELS, SEPARATOR, to_matrix
from cxr.metrics import judging
from cxr.metrics.bootstrap import Estimate, Resampling, bootstrap_weights, mean_of, weighted_ratios
from cxr.metrics.guesses import AMONG_FINDINGS, SIGMOID, SOFTMAX, Column, Guess, areas, columns
from cxr.metrics.ladder import CONSTANT, Ladder
from cxr.metrics.table import Row, can_be_judged, metric_row, metric_table


def classification_table(
    protocol: str,
    experiment: str,
    predictions: pd.DataFrame,
    truth: pd.DataFrame,
    ladder: Ladder,
    *,
    activation: Literal["softmax", "sigmoid"],
    resampling: Resampling,
) -> pd.DataFrame:
    """Score a classifier's saved predictions beside the image-free predictors fitted on its training split.

    predictions: image and 15 columns of probabilities, named as in ``LABELS``. truth: split table (image, patient,
    labels). ladder: what the image-free predictors say of the same images. Returns the metric table:

    - loss (label ""): sigmoid: binary cross-entropy, mean over images and 15 labels, with "mean14" for the findings alone
      and one row per label; softmax: Keras' categorical cross-entropy with multi-hot targets, -Σ y·log p, mean over images.
      Probabilities are clipped at 1e-7.
    - accuracy (label ""): sigmoid: mean over images and 15 labels, with "mean14" for the findings alone and one row
      per label; a label is predicted where its probability exceeds 0.5, as in Keras; softmax: Keras' categorical
      accuracy, the share of images whose highest probability is that of their first label in the order of ``LABELS``.
    - loss, accuracy of label "findings" (softmax): the same on the images with a finding, over the outputs of the findings,
      scaled to sum 1.
    - subset_accuracy (sigmoid): share of images with all 15 labels right.
    - label_sensitivity, a row per label: share of the images with the label for which it is predicted, by a probability
      above 0.5 (sigmoid) or by the highest one (softmax).
    - auroc, auprc: a row per label, and "mean14" (findings) and "mean15" over the labels that enough patients have
      (`mean_labels`); the note names the others. AUPRC against a constant has no verdict: where few images have the label it
      is so skewed that no interval holds, and the AUROC asks the same.

    The floor of each score is the candidate that was best at it on the training images (`Ladder.floor`). support is the
    number of images, or of images with the label. Raises InputError where predictions and truth do not cover the same
    images, or a probability lies outside [0, 1].
    """
    who = f"predictions of {experiment} ({protocol})"
    model = Guess.of_model(aligned_probabilities(predictions, truth, who))
    check_same_order(ladder.images, truth, "floors", who)
    weights = bootstrap_weights(truth["patient"].to_numpy(), resampling.samples, resampling.seed)
    scored, confidence = Scored.of(truth, ladder, weights), resampling.confidence
    rows = [*_mean_rows(model, scored, activation, confidence), *_ranking_rows(model, scored, confidence)]
    return metric_table(protocol, experiment, rows, confidence)


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


def check_same_order(images: Sequence[str], truth: pd.DataFrame, what: str, who: str) -> None:
    """Raise InputError unless a file (what) holds the images of the split, in its order."""
    if list(images) != truth["image"].tolist():
        raise InputError(f"{who}: the {what} are of other images than the split; delete that file and run again")


@dataclass(frozen=True)
class Scored:
    """The test images: patient (N,), targets (N, 15), bootstrap weights (B, N), and `fewer_patients` (15,)."""

    patients: np.ndarray
    targets: np.ndarray
    ladder: Ladder
    weights: np.ndarray
    fewer: np.ndarray

    @classmethod
    def of(cls, truth: pd.DataFrame, ladder: Ladder, weights: np.ndarray) -> "Scored":
        targets = to_matrix(truth["labels"]).astype(np.float64)
        patients = truth["patient"].to_numpy()
        return cls(patients, targets, ladder, weights, fewer_patients(targets, patients))

    def parts(self, at: int) -> tuple[np.ndarray, np.ndarray]:
        """The patient of each image with a label (its index), and of each without."""
        has = self.targets[:, at] > 0
        return self.patients[has], self.patients[~has]


def fewer_patients(targets: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """Count the patients with an image that has a label, and those with one that has not; return the fewer, (15,) int.

    targets: (N, 15) of 0 and 1. patients: (N,).
    """
    number = np.unique(patients, return_inverse=True)[1]
    counts = np.bincount(number)
    having = np.stack([np.bincount(number, weights=column) for column in np.asarray(targets, np.float64).T], axis=1)
    return np.minimum((having > 0).sum(axis=0), (having < counts[:, None]).sum(axis=0))


def mean_labels(fewer: np.ndarray, count: int) -> list[int]:
    """Return the labels, of the first `count`, that a mean of AUROC or AUPRC is over: a set that no resample changes.

    fewer: (15,) patients with or without the label, whichever are fewer. They are the labels with at least
    `judging.FEWEST` such patients; where there is none, those with any, and the mean gets no verdict.
    """
    enough = [at for at in range(count) if fewer[at] >= judging.FEWEST]
    return enough or [at for at in range(count) if fewer[at] > 0]


CONSTANTS = {  # how the constant that is best for a score is called
    (SIGMOID, "loss"): "training prevalence",
    (SIGMOID, "accuracy"): "majority of each label in training",
    (SIGMOID, "label_sensitivity"): "majority of each label in training",
    (SIGMOID, "subset_accuracy"): "most frequent label set in training",
    (SOFTMAX, "loss"): "training prior",
}


def _mean_rows(model: Guess, scored: Scored, activation: str, confidence: float) -> Iterator[Row]:
    ladder, prefix = scored.ladder, "softmax_" if activation == SOFTMAX else ""
    mine = list(columns(model, scored.targets, activation))
    theirs = {name: list(columns(guess, scored.targets, activation)) for name, guess in ladder.guesses.items()}
    keys = [(prefix + column.metric, column.label) for column in mine]
    floors = [ladder.floor(*key) for key in keys]
    denominators = np.stack([column.denominator for column in mine], axis=1)

    def estimated(chosen: Sequence[Column]) -> list[Estimate]:
        return weighted_ratios(np.stack([column.numerator for column in chosen], axis=1), denominators, scored.weights)

    def of(names: Sequence[str]) -> list[Estimate]:
        return estimated([theirs[name][at] for at, name in enumerate(names)])

    rungs = {rung: of([ladder.of_rung(rung, *key) for key in keys]) for rung in ladder.reached()}
    for at, (column, value, floor) in enumerate(zip(mine, estimated(mine), of(floors), strict=True)):
        total = column.denominator.sum()
        constant = _constant_name(ladder.guesses[CONSTANT], activation, column)
        yield metric_row(
            column.metric,
            column.label,
            value,
            floor,
            constant if floors[at] == CONSTANT else floors[at],
            confidence=confidence,
            support=int(total),
            **_telling(column, scored),
            note="" if np.isfinite(value.value) else "no image has the label" if column.label in LABELS else "no image",
            rungs={rung: estimates[at] for rung, estimates in rungs.items()},
        )


def _telling(column: Column, scored: Scored) -> dict[str, float]:
    if column.label in LABELS:
        return judging.telling(*scored.parts(LABELS.index(column.label)))
    return judging.telling(scored.patients[column.denominator > 0])


def _constant_name(said: Guess, activation: str, column: Column) -> str:
    if column.metric == "subset_accuracy" and len(said.sets):
        labels = SEPARATOR.join(label for label, present in zip(LABELS, said.sets[0], strict=True) if present)
        return f"most frequent label set in training: {labels}"
    index = said.finding if column.label == AMONG_FINDINGS else said.first
    return CONSTANTS.get((activation, column.metric)) or f"always {LABELS[index[0]]}"


def _ranking_rows(model: Guess, scored: Scored, confidence: float) -> Iterator[Row]:
    cached = functools.cache(lambda name, at: areas(_said(name, model, scored), scored.targets, at, scored.weights))
    for number, metric in enumerate(("auroc", "auprc")):
        for label, at in _ranked(scored):
            floor = scored.ladder.floor(metric, label)
            nothing = Estimate(np.nan, np.full(len(scored.weights), np.nan))
            wanted = {rung: scored.ladder.of_rung(rung, metric, label) for rung in scored.ladder.reached()}
            found, floored, *rungs = (
                mean_of([cached(name, each)[number] for each in at]) if at else nothing
                for name in ("", floor, *wanted.values())
            )
            yield metric_row(
                metric,
                label,
                found,
                floored,
                CONSTANT_RANKING[metric] if floor == CONSTANT else floor,
                confidence=confidence,
                support=support_of(label, scored),
                **judging.telling(*(part for each in at for part in scored.parts(each))),
                judgeable=can_be_judged(metric, scored.ladder.rungs[floor]),
                note=ranking_note(label, at, scored),
                rungs=dict(zip(wanted, rungs, strict=True)),
            )


CONSTANT_RANKING = {"auroc": "any constant: 0.5", "auprc": "any constant: the mean over random rankings"}


def _said(name: str, model: Guess, scored: Scored) -> Guess:
    return scored.ladder.guesses[name] if name else model


def _ranked(scored: Scored) -> Iterator[tuple[str, list[int]]]:
    """Yield the rows of a ranking score: (label, indices of the labels that it is over)."""
    yield "mean14", mean_labels(scored.fewer, len(FINDINGS))
    yield "mean15", mean_labels(scored.fewer, len(LABELS))
    for at, label in enumerate(LABELS):
        yield label, [at] if scored.fewer[at] else []


def support_of(label: str, scored: Scored) -> int:
    """Return the number of images with a label, or of all images for any other row."""
    return int(scored.targets[:, LABELS.index(label)].sum()) if label in LABELS else len(scored.targets)


def ranking_note(label: str, at: list[int], scored: Scored) -> str:
    """Say why a row of a ranking score is undefined, or which labels its mean leaves out; at: indices of its labels."""
    if label in LABELS:
        has = f"{support_of(label, scored)} of {len(scored.targets)} images have the label"
        return "" if at else f"undefined: {has}"
    count = len(FINDINGS) if label == "mean14" else len(LABELS)
    left_out = [LABELS[each] for each in range(count) if each not in at]
    if not left_out:
        return ""
    few = bool(at) and scored.fewer[at].min() >= judging.FEWEST
    why = f"fewer than {judging.FEWEST} patients with or without the label" if few else "undefined"
    return f"mean over {len(at)} labels; {why}: {', '.join(left_out)}"


def first_names(names: pd.Series, count: int = 3) -> str:
    return ", ".join(map(str, names.head(count)))
