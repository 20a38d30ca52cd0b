"""Scores of a classifier on another data set, beside two floors, over the images of which each label is known."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from sklearn.preprocessing import StandardScaler

from cxr.data.splits import METADATA
from cxr.labels import FINDINGS, LABELS
from cxr.metrics import image_free, judging, validity
from cxr.metrics.bootstrap import Estimate, bootstrap_weights, mean_of, weighted_ratios
from cxr.metrics.classification import CONSTANT_RANKING, CONSTANTS
from cxr.metrics.guesses import SIGMOID, Guess, areas, binary_cross_entropy
from cxr.metrics.ladder import CONSTANT, Ladder
from cxr.metrics.table import METRIC_COLUMNS, Row, can_be_judged, metric_row, metric_table
from cxr.metrics.validity_rows import COLUMNS, POOLED, Tested, nothing

OWN_SHARE = "constant, the label's share of these images"
METRICS = ("auroc", "auprc", "loss", "accuracy")
Scores = dict[str, Estimate]
_Told = tuple[Estimate, ...]  # of a number: the model, its floor, and each rung that there is


def study_ladder(train: pd.DataFrame, cases: pd.DataFrame, known: Sequence[str], seed: int) -> Ladder:
    """Fit the image-free predictors on the study's training images and ask them about the cases.

    train: as for `image_free.climb`. known: of `METADATA`, what the other data set tells; the rest is hidden in training too.
    """
    hidden = {name: "" if name in ("sex", "view") else np.nan for name in METADATA if name not in known}
    return image_free.climb(train.assign(**hidden), cases, seed)


def refitted_ladder(cases: pd.DataFrame, seed: int) -> Ladder:
    """Fit the image-free predictors on the cases themselves.

    cases: image, patient, `METADATA`, and the labels: 1, 0, NaN. The constant is the share of the label among the cases with a
    known one; what is fitted on metadata tells of each image what is fitted on other patients (`image_free.FOLDS` folds).
    """
    fold = image_free.folds_of(image_free.patient_places(cases["patient"], seed))
    features = StandardScaler().fit_transform(image_free.metadata_features(cases, cases))
    candidates = [each for each in image_free.CANDIDATES if each.rung == "metadata"]
    targets = cases[list(LABELS)].to_numpy(np.float64)
    said = {name: np.full(targets.shape, np.nan) for name in (OWN_SHARE, *(each.name for each in candidates))}
    for at in np.flatnonzero(np.isfinite(targets).any(axis=0)):
        known = np.isfinite(targets[:, at])
        said[OWN_SHARE][:, at] = image_free.smooth(targets[known, at])
        for each in candidates:
            said[each.name][:, at] = _out_of_fold(each.fit, features, targets[:, at], fold)
    guesses = {name: Guess.of_model(probabilities) for name, probabilities in said.items()}
    rungs = {OWN_SHARE: CONSTANT} | {each.name: each.rung for each in candidates}
    return Ladder(tuple(cases["image"]), guesses, rungs, _choice(guesses, targets))


def _out_of_fold(fit: image_free.Fit, features: np.ndarray, target: np.ndarray, fold: np.ndarray) -> np.ndarray:
    known, said = np.isfinite(target), np.full(len(target), np.nan)
    for number in np.unique(fold):
        held, rest = fold == number, known & (fold != number)
        positives = int(target[rest].sum())
        few = min(positives, int(rest.sum()) - positives) < image_free.FEWEST
        said[held] = image_free.smooth(target[rest]) if few else fit(features[rest], target[rest])(features[held])
    return said


def _choice(guesses: Mapping[str, Guess], targets: np.ndarray) -> pd.DataFrame:
    """Score each candidate on the images of which a label is known: (metric, label) and a column per candidate."""
    unsampled, rows = np.empty((0, len(targets)), np.uint16), []
    for at in np.flatnonzero(np.isfinite(targets).any(axis=0)):
        known = np.isfinite(targets[:, at])
        found = {
            name: _scores(_only(guess, known), targets[known], at, unsampled[:, known])
            for name, guess in guesses.items()
        }
        for metric in METRICS:
            rows.append({"metric": metric, "label": LABELS[at]} | {name: found[name][metric].value for name in guesses})
    table = pd.DataFrame(rows)
    means = table[table["label"].isin(FINDINGS)].groupby("metric", sort=False)[[*guesses]].mean()
    return pd.concat([table, means.reset_index().assign(label=POOLED)], ignore_index=True)


def _only(guess: Guess, images: np.ndarray) -> Guess:
    return Guess(*(part[images] for part in (guess.probabilities, guess.first, guess.finding, guess.sets)))


def _scores(guess: Guess, targets: np.ndarray, at: int, weights: np.ndarray) -> Scores:
    """AUROC, AUPRC, cross-entropy and accuracy at 0.5 of one label (its index)."""
    said, truth = guess.probabilities[:, [at]], targets[:, [at]]
    means = np.hstack([binary_cross_entropy(truth, said), (said > 0.5) == truth])
    estimates = (*areas(guess, targets, at, weights), *weighted_ratios(means, np.ones_like(means), weights))
    return dict(zip(METRICS, estimates, strict=True))


def tables(
    protocol: str,
    cases: pd.DataFrame,
    probabilities: np.ndarray,
    ladders: Mapping[str, Ladder],
    *,
    samples: int,
    confidence: float,
    seed: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Score probabilities (N, 15) of the cases beside each ladder; return the metric table and the validity table.

    cases: as for `refitted_ladder`. ladders: experiment of the rows → image-free predictors of the cases. Each label is scored on
    the images of which it is known; labels that are known of none have no row.

    - metrics: auroc, auprc, loss and accuracy of each label, and "mean14", their mean over the findings that at least
      `judging.FEWEST` patients have and lack.
    - validity (``validity_rows.COLUMNS``): calibration of each finding; "mean14", bins and subgroups (`validity.validity_table`)
      are of the images of which all these findings are known.
    """
    weights = bootstrap_weights(cases["patient"].to_numpy(), samples, seed)
    targets = cases[list(LABELS)].to_numpy(np.float64)
    metrics, validities = [], []
    for experiment, ladder in ladders.items():
        tested = Tested(probabilities, targets, cases["patient"].to_numpy(), ladder, cases, weights, confidence)
        metrics.append(metric_table(protocol, experiment, list(_metric_rows(tested)), confidence))
        validities.append(pd.DataFrame(list(_validity_rows(tested)), columns=COLUMNS))
        validities[-1] = validities[-1].assign(protocol=protocol, experiment=experiment)
    return pd.concat(metrics, ignore_index=True)[METRIC_COLUMNS], pd.concat(validities, ignore_index=True)[COLUMNS]


def _told(tested: Tested) -> list[int]:
    return np.flatnonzero(np.isfinite(tested.targets).any(axis=0)).tolist()


def _known(tested: Tested, labels: Sequence[int]) -> Tested:
    """Keep the images of which all these labels are known; others count as absent there."""
    images = np.isfinite(tested.targets[:, labels]).all(axis=1)
    ladder = tested.ladder
    guesses = {name: _only(guess, images) for name, guess in ladder.guesses.items()}
    return replace(
        tested,
        probabilities=tested.probabilities[images],
        targets=np.nan_to_num(tested.targets[images]),
        patients=tested.patients[images],
        ladder=replace(ladder, images=tuple(np.array(ladder.images)[images]), guesses=guesses),
        metadata=tested.metadata[images].reset_index(drop=True),
        weights=tested.weights[:, images],
    )


def _metric_rows(tested: Tested) -> Iterator[Row]:
    found: dict[str, dict[str, _Told]] = {metric: {} for metric in METRICS}
    parts = {}
    for at in _told(tested):
        own = _known(tested, [at])
        has = own.targets[:, at] > 0
        parts[LABELS[at]] = own.patients[has], own.patients[~has]
        model = _scores(Guess.of_model(own.probabilities), own.targets, at, own.weights)
        for metric in METRICS:
            floor = own.ladder.floor(metric, LABELS[at])
            pair = model[metric], _scores(own.ladder.guesses[floor], own.targets, at, own.weights)[metric]
            rungs = _rungs(own, metric, at)
            found[metric][LABELS[at]] = *pair, *rungs.values()
            yield metric_row(
                metric, LABELS[at], *pair, _floor_name(metric, floor), confidence=tested.confidence,
                support=int(has.sum()) if metric.startswith("au") else len(has), **judging.telling(*parts[LABELS[at]]),
                judgeable=can_be_judged(metric, own.ladder.rungs[floor]), rungs=rungs,
                note=f"{int((~has).sum())} images without the label; {len(tested.targets) - len(has)} left out: not known",
            )  # fmt: skip
    for metric in METRICS:
        yield _mean_row(metric, found[metric], parts, tested)


def _rungs(own: Tested, metric: str, at: int) -> dict[str, Estimate]:
    names = {rung: own.ladder.of_rung(rung, metric, LABELS[at]) for rung in own.ladder.reached()}
    return {
        rung: _scores(own.ladder.guesses[name], own.targets, at, own.weights)[metric] for rung, name in names.items()
    }


def _floor_name(metric: str, name: str) -> str:
    if name != CONSTANT:
        return name
    return CONSTANT_RANKING.get(metric) or CONSTANTS[SIGMOID, metric]


def _mean_row(
    metric: str,
    found: Mapping[str, _Told],
    parts: Mapping[str, tuple[np.ndarray, np.ndarray]],
    tested: Tested,
) -> Row:
    told = [label for label in found if label in FINDINGS]
    enough = [label for label in told if judging.telling(*parts[label])["patients"] >= judging.FEWEST]
    without = [label for label in told if label not in enough]
    names = tested.ladder.reached()
    own, floor, *rungs = (
        mean_of([found[label][at] for label in enough]) if enough else nothing(len(tested.weights))
        for at in range(2 + len(names))
    )
    note = f"mean over {len(enough)} findings"
    if without:
        note += f"; fewer than {judging.FEWEST} patients with or without the label: {', '.join(without)}"
    return metric_row(
        metric, POOLED, own, floor, "the best of each finding", confidence=tested.confidence, support=len(enough),
        **judging.telling(*(part for label in enough for part in parts[label])), judgeable=metric != "auprc", note=note,
        rungs=dict(zip(names, rungs, strict=True)),
    )  # fmt: skip


def _validity_rows(tested: Tested) -> Iterator[dict[str, object]]:
    findings = [at for at in _told(tested) if at < len(FINDINGS)]
    for at in findings:
        yield from validity.calibration_rows(_known(tested, [at]), {LABELS[at]: [at]})
    complete = _known(tested, findings)
    if len(complete.targets):
        yield from validity.calibration_rows(complete, {POOLED: findings})
        yield from validity.bin_rows(complete, findings)
        yield from validity.subgroup_rows(complete)
