"""The ladder of image-free label predictors: what can be said of an image without looking at it, fitted on training labels.

Three rungs, each with one or more candidates:

- constant: the best constant of each score on the training labels (`constants.fit_classification`), and the same with smoothed
  prevalences, which a label that no training image has does not bring down;
- metadata: age, sex, view and follow-up number, by logistic regression (scikit-learn) at two strengths of regularisation;
- history: these and the labels of the same patient's other training images, likewise. It exists only where patients of
  the test images have training images too.

Boosted trees are no candidate: on the release's tables their cross-validated scores are below those of the logistic
regression on splines (docs/floors.md has the figures).

Which candidate is the floor of a score is chosen on the training images, by the same score in a cross-validation by
patient (`ladder.Ladder.floor`); no test label is read here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from cxr.data.splits import place
from cxr.labels import FINDINGS, LABELS, to_matrix
from cxr.metrics.constants import fit_classification
from cxr.metrics.guesses import Guess, best_sets, guess_constant, point_scores
from cxr.metrics.ladder import CONSTANT, RUNGS, Ladder

SMOOTHED = "constant, smoothed prevalence"
FOLDS = 5
MOST_IMAGES = 20_000  # of the cross-validation: whole patients; the predictors are then fitted on all training images
FEWEST = 10  # positive and negative images of a label; below, a candidate says the label's smoothed prevalence
AGES, FOLLOW_UPS = (20, 35, 50, 65), (1, 3, 8, 20, 60)  # knots of the linear splines: years; number of earlier images
RANGE = (0.01, 0.99)
Fit = Callable[[np.ndarray, np.ndarray], Callable[[np.ndarray], np.ndarray]]


@dataclass(frozen=True)
class Candidate:
    """An image-free predictor. name: for readers; rung: one of `RUNGS`; fit: of features and one label's targets."""

    name: str
    rung: str
    fit: Fit


def logistic(strength: float) -> Fit:
    """L2-regularised logistic regression on standardised features; strength: scikit-learn's C."""

    def fit(features: np.ndarray, target: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        model = LogisticRegression(C=strength, solver="newton-cholesky").fit(features, target)
        return lambda others: model.predict_proba(others)[:, 1]

    return fit


CANDIDATES = tuple(
    Candidate(f"{rung}, logistic regression (C = {strength:g})", rung, logistic(strength))
    for rung in RUNGS[1:]
    for strength in (0.001, 0.03)
)


def climb(train: pd.DataFrame, test: pd.DataFrame, seed: int) -> Ladder:
    """Fit every candidate on the training images and ask it about the test images.

    train: image, patient, labels and `METADATA` (age in years, sex M or F, view PA or AP; missing: NaN or ""). test: the
    same without labels. Raises InputError where there is no training image.
    """
    return climb_each(train, [test], seed)[0]


def climb_each(train: pd.DataFrame, asked: Sequence[pd.DataFrame], seed: int) -> list[Ladder]:
    """Fit every candidate once and ask it about several tables of images; return the ladder of each.

    train and the tables: as for `climb`. The first table holds the test images: it alone decides whether there is a history.
    """
    labels = to_matrix(train["labels"])
    shared = bool(asked[0]["patient"].isin(train["patient"]).any())
    candidates = [each for each in CANDIDATES if each.rung != "history" or shared]
    known = _features(train, train, labels, own=True)
    wanted = [_features(table, train, labels, own=False) for table in asked]
    guesses = [guess_constants(labels, len(table)) for table in asked]
    rungs = dict.fromkeys(guesses[0], CONSTANT) | {each.name: each.rung for each in candidates}
    for each in candidates:
        said = _guess(each, known[each.rung], labels, [described[each.rung] for described in wanted])
        for mine, guess in zip(guesses, said, strict=True):
            mine[each.name] = guess
    scores = _cross_validate(candidates, train, labels, seed)
    return [Ladder(tuple(table["image"]), mine, rungs, scores) for table, mine in zip(asked, guesses, strict=True)]


def guess_constants(labels: np.ndarray, count: int) -> dict[str, Guess]:
    """Return what the constants fitted on labels (N, 15) say of this many images, by name."""
    fitted = fit_classification(labels)
    smoothed = replace(fitted, prevalence=smooth(labels))
    return {CONSTANT: guess_constant(fitted, count), SMOOTHED: guess_constant(smoothed, count)}


def patient_places(patients: pd.Series, seed: int) -> np.ndarray:
    """Return the place of each image's patient in a random order, (N,) float64; patients: (N,)."""
    places = {patient: place(seed, f"floor/{patient}") for patient in patients.unique()}
    return patients.map(places).to_numpy()


def folds_of(places: np.ndarray) -> np.ndarray:
    """Return the fold of each image, (N,) int below `FOLDS`: all images of a patient are in one."""
    return np.unique(places, return_inverse=True)[1] % FOLDS


def smooth(labels: np.ndarray) -> np.ndarray:
    """Return the share of ones per column with half an image of each kind added (Jeffreys' prior), never 0 or 1."""
    return (labels.sum(axis=0) + 0.5) / (len(labels) + 1)


def _cross_validate(candidates: list[Candidate], train: pd.DataFrame, labels: np.ndarray, seed: int) -> pd.DataFrame:
    """Score each candidate out of fold. A held-out patient's history is that of the other images, as at the test."""
    order = patient_places(train["patient"], seed)
    kept = np.flatnonzero(order <= np.sort(order)[min(MOST_IMAGES, len(order)) - 1])
    train, labels, order = train.iloc[kept], labels[kept], order[kept]
    fold = folds_of(order)
    features = _features(train, train, labels, own=True)
    names = [*guess_constants(labels, 1), *(each.name for each in candidates)]
    said: dict[str, Guess] = {name: Guess.empty(len(train)) for name in names}
    for number in range(FOLDS):
        held, rest = fold == number, fold != number
        if not held.any() or not rest.any():
            continue
        for name, guess in guess_constants(labels[rest], int(held.sum())).items():
            said[name].put(held, guess)
        for each in candidates:
            described = features[each.rung]
            (guess,) = _guess(each, described[rest], labels[rest], [described[held]])
            said[each.name].put(held, guess)
    columns = {name: point_scores(guess, labels, fold) for name, guess in said.items()}
    keys = list(columns[CONSTANT])
    table = pd.DataFrame(keys, columns=["metric", "label"])
    for name, values in columns.items():
        table[name] = [values[key] if fold.any() else np.nan for key in keys]  # one patient: nothing was held out
    return table


def _guess(candidate: Candidate, features: np.ndarray, labels: np.ndarray, asked: Sequence[np.ndarray]) -> list[Guess]:
    """Fit a candidate, and ask it about each of several tables of features."""
    scaler = StandardScaler().fit(features)
    known, *wanted = (scaler.transform(each).astype(np.float32) for each in (features, *asked))  # twice as fast
    said = [np.empty((len(each), len(LABELS))) for each in wanted]
    for index, target in enumerate(labels.T):
        few = min(int(target.sum()), int(len(target) - target.sum())) < FEWEST
        fitted = None if few else candidate.fit(known, target)
        for probabilities, each in zip(said, wanted, strict=True):
            probabilities[:, index] = fitted(each) if fitted else smooth(target)
    return [_read(probabilities) for probabilities in said]


def _read(probabilities: np.ndarray) -> Guess:
    findings = probabilities[:, : len(FINDINGS)].argmax(axis=1)
    return Guess(probabilities, probabilities.argmax(axis=1), findings, best_sets(probabilities))


def _features(images: pd.DataFrame, train: pd.DataFrame, labels: np.ndarray, *, own: bool) -> dict[str, np.ndarray]:
    metadata = metadata_features(images, train)
    return {"metadata": metadata, "history": np.hstack([metadata, history_features(images, train, labels, own=own)])}


def metadata_features(images: pd.DataFrame, train: pd.DataFrame) -> np.ndarray:
    """Describe images by `METADATA`: (N, 27) float64.

    Linear splines of age and of the logarithm of the follow-up number; sex and view with a case of their own where
    missing; products of sex and view with the others. A spline must not be followed to where it was hardly fitted: an age or
    a number beyond `RANGE` of those of the training images (quantiles) counts as the nearest one within.
    """
    age, follow_up = (_within(images[name], train[name]) for name in ("age", "follow_up"))
    unknown = [np.isnan(age), np.isnan(follow_up)]
    ages = _spline(np.where(unknown[0], 50.0, age) / 100, np.array(AGES) / 100)
    numbers = _spline(np.log1p(np.where(unknown[1], 0.0, follow_up)), np.log1p(FOLLOW_UPS))
    sexes = [(images["sex"] == name).to_numpy(np.float64) for name in ("M", "F")]
    views = [(images["view"] == name).to_numpy(np.float64) for name in ("PA", "AP")]
    first = follow_up == 0
    products = [one * other for one in (sexes[0], views[0]) for other in (ages[0], *numbers[:2], first)]
    plain = [*ages, *numbers, *sexes, *views, first, *unknown, *products, sexes[0] * views[0]]
    return np.stack([np.asarray(column, dtype=np.float64) for column in plain], axis=1)


def _within(values: pd.Series, known: pd.Series) -> np.ndarray:
    return values.astype(np.float64).clip(*known.astype(np.float64).quantile(RANGE)).to_numpy()


def _spline(values: np.ndarray, knots: np.ndarray) -> list[np.ndarray]:
    return [values, *(np.maximum(values - knot, 0) for knot in knots)]


def history_features(images: pd.DataFrame, train: pd.DataFrame, labels: np.ndarray, *, own: bool) -> np.ndarray:
    """Describe images by the labels of their patient's training images: (N, 32) float64.

    labels: (M, 15) of `train`. own: the images are those of `train`, and the labels of an image itself are left out. For
    each label the log odds of its share, once over all of the patient's images and once weighted by exp(-distance in
    follow-up numbers), each with one image's worth of the training prevalence added; whether there is none; and log(1 +
    their number).
    """
    prevalence = np.clip(labels.mean(axis=0), 1e-6, 1 - 1e-6)
    order = np.argsort(train["patient"].to_numpy(), kind="stable")
    patients, seen = train["patient"].to_numpy()[order], labels[order].astype(np.float64)
    numbers = np.nan_to_num(train["follow_up"].to_numpy(np.float64))[order]
    start, end = (np.searchsorted(patients, images["patient"].to_numpy(), side) for side in ("left", "right"))
    counts = end - start
    rows = np.repeat(np.arange(len(images)), counts)
    columns = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(start, counts)
    if own:
        others = order[columns] != rows
        rows, columns = rows[others], columns[others]
    distances = np.abs(numbers[columns] - np.nan_to_num(images["follow_up"].to_numpy(np.float64))[rows])
    found = np.bincount(rows, minlength=len(images))
    described = [(found == 0)[:, None], np.log1p(found)[:, None]]
    for weights in (np.ones(len(distances)), np.exp(-distances)):
        summed = csr_matrix((weights, (rows, columns)), (len(images), len(train)))
        share = (summed @ seen + prevalence) / (np.asarray(summed.sum(axis=1)) + 1)
        described.append(np.log(share) - np.log1p(-share))
    return np.hstack(described)
