"""What recognising patients is worth: scores of networks that know a test image's patient beside those that do not.

Every test image is scored by two networks that differ only in their training images (`data.leakage_splits`). In the arm
"image", the network was trained on other images drawn from the patients of the image's half, as under an image-level split;
in the arm "patient", on images of the other half, as under a patient-level split. Each network is in both arms, on other
images, so that a network that happens to be better favours neither.

Test images are "shared" if their patient has a training image in the arm "image", else "unshared". On shared images, the
difference of the arms is what knowing the patient adds; on unshared ones it should be 0, since no network knows these
patients. The difference of the two differences is what the report states.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cxr.data import leakage_splits, splits
from cxr.labels import FINDINGS, LABELS, SEPARATOR, to_matrix
from cxr.metrics import judging
from cxr.metrics.bootstrap import Estimate, Resampling, bootstrap_weights, mean_of, minus, ratio
from cxr.metrics.classification import aligned_probabilities, check_same_order, fewer_patients, mean_labels
from cxr.metrics.ladder import RUNGS, Ladder
from cxr.metrics.ranking import ranking_scores
from cxr.runtime.jobs import Job
from cxr.runtime.journal import Journal
from cxr.settings import Evaluation

NETWORK = "network"
IMAGE, PATIENT, ARMS_DIFFER = "image", "patient", "image − patient"
SHARED, UNSHARED, SUBSETS_DIFFER = "shared", "unshared", "shared − unshared"
COLUMNS = [
    *("predictor", "subset", "arm", "value", "low", "high", "spread", "repeats", "images", "patients", "positives"),
    *("fewest", "p", "verdict", "labels", "left_out"),
]


@dataclass(frozen=True)
class RepeatFiles:
    """The files of one repeat: its test split; and, for each half in the order of `leakage_splits.HALVES`, its training
    split, what its network predicts of the test images, and what the image-free predictors fitted on it say of them."""

    test: Path
    train: Sequence[Path]
    predictions: Sequence[Path]
    floors: Sequence[Path]

    @classmethod
    def of(cls, job: Job) -> "list[RepeatFiles]":
        """Return those of a workflow's job, whose inputs have both halves of one repeat after the other."""
        given = job.input
        halves = [_in_pairs(given[name]) for name in ("train", "predictions", "floors")]
        return [cls(Path(test), *files) for test, *files in zip(given.test, *halves, strict=True)]


def _in_pairs(paths: Sequence[str]) -> list[list[Path]]:
    count = len(leakage_splits.HALVES)
    return [[Path(path) for path in paths[start : start + count]] for start in range(0, len(paths), count)]


@dataclass(frozen=True)
class Said:
    """What is said of N test images. patients: (N,). targets: (N, 15). stratum: (N,) int; the images of one are ranked by the
    same predictors. repeat: (N,) int. shared: (N,) bool. arms: predictor → arm → (N, 15) probabilities."""

    patients: np.ndarray
    targets: np.ndarray
    stratum: np.ndarray
    repeat: np.ndarray
    shared: np.ndarray
    arms: dict[str, dict[str, np.ndarray]]

    @property
    def subsets(self) -> dict[str, np.ndarray]:
        return {SHARED: self.shared, UNSHARED: ~self.shared}


def write(*, repeats: Sequence[RepeatFiles], settings: Evaluation, seed: int, table: Path, tell: Journal) -> None:
    """Write the table of the experiment as CSV (`leakage_table`)."""
    said = joined([read_repeat(files) for files in repeats])
    found = leakage_table(said, Resampling(settings.bootstrap, settings.confidence, seed))
    found.to_csv(table, index=False, float_format="%.6g")
    for row in found[(found["subset"] == SUBSETS_DIFFER) & (found["arm"] == ARMS_DIFFER)].itertuples():
        tell(f"{row.predictor}: recognising patients adds {row.value:+.3f} [{row.low:+.3f}, {row.high:+.3f}] of AUROC")


def read_repeat(files: RepeatFiles) -> Said:
    """Put what the networks and the image-free predictors of both halves say together by arm; its repeat is 0."""
    truth, half = splits.read_split(files.test), leakage_splits.read_halves(files.test)
    first = half == leakage_splits.HALVES[0]
    known = [truth["patient"].isin(splits.read_split(path)["patient"]) for path in files.train]
    said = [
        {NETWORK: aligned_probabilities(pd.read_csv(path), truth, str(path))} | _rungs(floors, truth)
        for path, floors in zip(files.predictions, files.floors, strict=True)
    ]
    return Said(
        patients=truth["patient"].to_numpy(),
        targets=to_matrix(truth["labels"]).astype(np.float64),
        stratum=first.astype(int),
        repeat=np.zeros(len(truth), dtype=int),
        shared=np.where(first, *known),
        arms={name: by_arm(first, *(each[name] for each in said)) for name in said[0] if name in said[1]},
    )


def by_arm(first: np.ndarray, of_first: np.ndarray, of_second: np.ndarray) -> dict[str, np.ndarray]:
    """Return each arm's probabilities, (N, 15), of two predictors': the arm "image" has those of the image's own half.

    first: (N,) bool, whether the image is of the first half.
    """
    mine = first[:, None]
    return {IMAGE: np.where(mine, of_first, of_second), PATIENT: np.where(mine, of_second, of_first)}


def joined(repeats: Sequence[Said]) -> Said:
    """Put repeats below each other, as numbers 0, 1, …; their strata stay apart. Predictors that one lacks are left out."""
    count = len(leakage_splits.HALVES)
    return Said(
        *(np.concatenate([getattr(each, name) for each in repeats]) for name in ("patients", "targets")),
        stratum=np.concatenate([each.stratum + count * number for number, each in enumerate(repeats)]),
        repeat=np.concatenate([np.full(len(each.patients), number) for number, each in enumerate(repeats)]),
        shared=np.concatenate([each.shared for each in repeats]),
        arms={
            name: {arm: np.concatenate([each.arms[name][arm] for each in repeats]) for arm in (IMAGE, PATIENT)}
            for name in repeats[0].arms
            if all(name in each.arms for each in repeats)
        },
    )


def _rungs(path: Path, truth: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return what the image-free predictors say of the images, (N, 15), by rung: each rung's candidate for the AUROC."""
    ladder = Ladder.load(path)
    check_same_order(ladder.images, truth, "floors", str(path))
    names = {rung: ladder.of_rung(rung, "auroc", "mean14") for rung in RUNGS}
    return {rung: ladder.guesses[name].probabilities for rung, name in names.items() if name is not None}


def leakage_table(said: Said, resampling: Resampling) -> pd.DataFrame:
    """Compare the arms on shared and on unshared test images of all repeats; columns ``COLUMNS``.

    For the network and for each rung of image-free predictors, nine rows: the mean AUROC of each arm on each subset, the
    arms' difference on each subset, and (subset ``SUBSETS_DIFFER``) the differences between the subsets, of which that of
    the arms' differences is what recognising patients is worth.

    The mean is over the findings with `judging.FEWEST` patients with and without them in both subsets (`mean_labels`); the
    others are left_out. AUROC compares images of one stratum (a half of a repeat), since others have their scores from
    another network; strata are weighted by their pairs of images. Intervals resample patients, for all repeats and arms
    alike. spread: standard deviation of the value over the repeats. images: of all repeats; patients: each once. Differences
    of the arms have a p-value and a verdict (`judging`); fewest: patients with or without a finding in a subset, whichever
    are fewest.
    """
    weights = bootstrap_weights(said.patients, resampling.samples, resampling.seed)
    labels = _labels(said)
    names = {"labels": SEPARATOR.join(LABELS[at] for at in labels), "repeats": int(said.repeat.max()) + 1}
    names["left_out"] = SEPARATOR.join(label for label in FINDINGS if LABELS.index(label) not in labels)
    predictors = [name for name in (NETWORK, *RUNGS) if name in said.arms]
    rows = [names | row for name in predictors for row in _rows(name, said, weights, labels, resampling.confidence)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _labels(said: Said) -> list[int]:
    fewer = np.min([fewer_patients(said.targets[each], said.patients[each]) for each in said.subsets.values()], axis=0)
    flat, no_weights = np.zeros(said.targets.shape), np.empty((0, len(said.patients)), np.uint16)
    ranked = [
        all(np.isfinite(area(said, at, each, flat, no_weights).value) for each in said.subsets.values())
        for at in range(len(LABELS))
    ]
    return mean_labels(np.where(ranked, fewer, 0), len(FINDINGS))


def area(said: Said, at: int, subset: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> Estimate:
    """Estimate the AUROC of one label (its index) on a subset of the images, (N,) bool, over the pairs within a stratum.

    probabilities: (N, 15). weights: (B, N) from ``bootstrap_weights``. Undefined without such a pair.
    """
    weights = np.vstack([np.ones((1, len(subset)), weights.dtype), weights])
    won, pairs = np.zeros(len(weights)), np.zeros(len(weights))
    for stratum in np.unique(said.stratum[subset]):
        here = subset & (said.stratum == stratum)
        has, drawn = said.targets[here, at], weights[:, here]
        positive = drawn @ has
        compared = positive * (drawn.sum(axis=1, dtype=np.float64) - positive)
        won += compared * np.nan_to_num(ranking_scores(has, probabilities[here, at], drawn)[0])
        pairs += compared
    values = ratio(won, pairs)
    return Estimate(float(values[0]), values[1:])


Cells = dict[tuple[str, str], Estimate]  # (subset, arm) → estimate


def _rows(
    predictor: str, said: Said, weights: np.ndarray, labels: Sequence[int], confidence: float
) -> Iterator[dict[str, object]]:
    sizes = _sizes(said, labels)
    alone = [_cells(predictor, said, weights[:0], labels, said.repeat == number) for number in np.unique(said.repeat)]
    for (subset, arm), estimate in _cells(predictor, said, weights, labels).items():
        low, high = estimate.interval(confidence)
        values = np.array([each[subset, arm].value for each in alone])
        row: dict[str, object] = {"predictor": predictor, "subset": subset, "arm": arm, "value": estimate.value}
        row |= {"low": low, "high": high, "spread": np.std(values, ddof=1) if len(values) > 1 else np.nan}
        row |= sizes[subset]
        yield row | (_judged(estimate, row, confidence) if arm == ARMS_DIFFER else {"p": np.nan, "verdict": ""})


def _cells(
    predictor: str, said: Said, weights: np.ndarray, labels: Sequence[int], images: np.ndarray | bool = True
) -> Cells:
    """Return the mean AUROC of each arm on each subset of the images, (N,) bool, and the differences."""
    nothing = Estimate(np.nan, np.full(len(weights), np.nan))
    cells: Cells = {}
    for subset, where in said.subsets.items():
        for arm, probabilities in said.arms[predictor].items():
            found = [area(said, at, where & images, probabilities, weights) for at in labels]
            cells[subset, arm] = mean_of(found) if found else nothing
        cells[subset, ARMS_DIFFER] = minus(cells[subset, IMAGE], cells[subset, PATIENT])
    for arm in (IMAGE, PATIENT, ARMS_DIFFER):
        cells[SUBSETS_DIFFER, arm] = minus(cells[SHARED, arm], cells[UNSHARED, arm])
    return cells


def _sizes(said: Said, labels: Sequence[int]) -> dict[str, dict[str, float]]:
    """By subset: its images and patients, and the fewest patients, and their effective number, that tell of a label."""
    has = [said.targets[:, at] > 0 for at in labels]
    every = np.ones(len(said.patients), dtype=bool)
    found = {}
    for subset, where in (*said.subsets.items(), (SUBSETS_DIFFER, every)):
        parts = said.subsets.values() if subset == SUBSETS_DIFFER else [where]
        told = judging.telling(*(said.patients[part & ill] for part in parts for each in has for ill in (each, ~each)))
        found[subset] = {"images": int(where.sum()), "patients": len(np.unique(said.patients[where]))}
        found[subset]["positives"] = int(said.targets[np.ix_(where, labels)].sum())
        found[subset] |= {"fewest": told["patients"], "effective": told["effective"]}
    return found


def _judged(estimate: Estimate, row: dict[str, object], confidence: float) -> dict[str, object]:
    p = judging.p_value(estimate, float(row["effective"]))
    asked = {
        "value": estimate.value,
        "difference": estimate.value,
        "judged": True,
        "higher_is_better": True,
        "p_holm": p,
    }
    asked |= {"difference_low": row["low"], "difference_high": row["high"], "patients": row["fewest"]}
    return {"p": p, "verdict": judging.verdict(asked, confidence)}
