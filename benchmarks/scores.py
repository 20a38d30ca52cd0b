"""AUROC with intervals by patient: ours beside a plain loop over scikit-learn's roc_auc_score, on the same predictions.

    PYTHONPATH=workflow python benchmarks/scores.py [--images 2560 25596] [--samples 1000] [--loops 30]

15 labels as frequent as in the official test list, patients with equally uneven numbers of images, scores with ties. The
loop draws patients and scores their images; it runs for fewer samples and its time is scaled up. Ours also computes the
AUPRC; the loop computes only the AUROC.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import lines
import numpy as np
import pandas as pd

from cxr.labels import LABELS
from cxr.metrics.bootstrap import Estimate, Resampling, bootstrap_weights
from cxr.metrics.classification import classification_table
from cxr.metrics.image_free import climb
from cxr.metrics.ladder import Ladder
from cxr.metrics.ranking import ranking_scores

try:
    from sklearn.metrics import roc_auc_score
except ImportError as error:
    raise SystemExit(
        f"nothing to compare with ({error}): python -m pip install --no-deps -r benchmarks/requirements.txt"
    ) from None

ROUNDS, CONFIDENCE = 3, 0.95
TEST_IMAGES, TEST_PATIENTS, MOST = 25596, 2797, 184  # of the official test list; MOST: most images of a patient
# Images of the official test list with each label, in the order of LABELS.
SUPPORT = np.array([3279, 1069, 4658, 6112, 1748, 1623, 555, 2665, 1815, 925, 1093, 435, 1143, 86, 9861])


def synthetic(images: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return patients (N,), truth (N, 15) of 0 and 1, probabilities (N, 15) rounded to 4 digits."""
    random = np.random.default_rng(0)
    mean = TEST_IMAGES / TEST_PATIENTS
    spread = np.sqrt(2 * np.log(mean / 2))  # a median of 2 images, as in the test list
    counts = np.minimum(np.ceil(random.lognormal(np.log(2), spread, images)), MOST).astype(int)
    patients = np.repeat(np.arange(images), counts)[:images]
    shape = (images, len(LABELS))
    truth = (random.random(shape) < SUPPORT / TEST_IMAGES).astype(np.uint8)
    logits = truth + random.normal(size=shape) + random.normal(0, 0.5, shape)[patients]
    return patients, truth, np.round(1 / (1 + np.exp(3 - logits)), 4)


def ours(patients: np.ndarray, truth: np.ndarray, scores: np.ndarray, samples: int) -> tuple[list[Estimate], list]:
    weights = bootstrap_weights(patients, samples, seed=0)
    once = np.ones((1, len(truth)), dtype=np.uint16)
    estimates, intervals = [], []
    for present, score in zip(truth.T, scores.T, strict=True):
        value, drawn = ranking_scores(present, score, once), ranking_scores(present, score, weights)
        both = [Estimate(float(v[0]), d) for v, d in zip(value, drawn, strict=True)]
        intervals.append([estimate.interval(CONFIDENCE) for estimate in both])
        estimates.append(both[0])
    return estimates, [auroc for auroc, _ in intervals]


def loop(patients: np.ndarray, truth: np.ndarray, scores: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """Return the AUROC (samples, 15) of resampled patients, as a user would write it; NaN if a label is absent."""
    random = np.random.default_rng(seed)
    groups = list(pd.Series(np.arange(len(patients))).groupby(patients).indices.values())
    values = np.full((samples, truth.shape[1]), np.nan)
    for row in values:
        drawn = np.concatenate([groups[number] for number in random.integers(len(groups), size=len(groups))])
        for label in range(truth.shape[1]):
            if 0 < truth[drawn, label].sum() < len(drawn):
                row[label] = roc_auc_score(truth[drawn, label], scores[drawn, label])
    return values


def as_files(patients: np.ndarray, truth: np.ndarray, scores: np.ndarray) -> tuple[pd.DataFrame, pd.DataFrame, Ladder]:
    """Return predictions, split and floors as the metric tables take them; the floors know no metadata."""
    names = pd.Series([f"{number}.png" for number in range(len(patients))], name="image")
    texts = ["|".join(np.array(LABELS)[row > 0]) or "No Finding" for row in truth]
    split = pd.DataFrame({"image": names, "patient": patients, "labels": texts})
    predictions = pd.concat([names, pd.DataFrame(scores, columns=list(LABELS))], axis=1)
    unknown = split.assign(age=np.nan, follow_up=np.nan, sex="", view="")
    return predictions, split, climb(unknown, unknown.drop(columns="labels").assign(patient=-1), 0)


def whole_table(files: tuple[pd.DataFrame, pd.DataFrame, Ladder], samples: int) -> pd.DataFrame:
    return classification_table(
        "sound", "b", *files, activation="sigmoid", resampling=Resampling(samples, CONFIDENCE, seed=0)
    )


def timed(function: Callable, *arguments):
    began = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - began, result


def largest_difference(data: tuple, estimates: list[Estimate], checked: int) -> tuple[float, float]:
    """Return the largest difference of the AUROCs on the data, and on our first resamples written out by image."""
    patients, truth, scores = data
    on_data = max(abs(e.value - roc_auc_score(t, s)) for e, t, s in zip(estimates, truth.T, scores.T, strict=True))
    on_resamples = [
        abs(estimate.samples[number] - roc_auc_score(np.repeat(present, row), np.repeat(score, row)))
        for number, row in enumerate(bootstrap_weights(patients, len(estimates[0].samples), seed=0)[:checked])
        for estimate, present, score in zip(estimates, truth.T, scores.T, strict=True)
        if 0 < present @ row < row.sum()
    ]
    return float(on_data), float(max(on_resamples))


def compare(images: int, samples: int, loops: int, to: Path | None) -> None:
    data = synthetic(images)
    each = max(1, loops // ROUNDS)
    mine, table, theirs, drawn = [], [], [], []
    for number in range(ROUNDS):
        seconds, (estimates, intervals) = timed(ours, *data, samples)
        mine.append(seconds)
        seconds, values = timed(loop, *data, each, 1 + number)
        theirs.append(seconds * samples / each)
        drawn.append(values)
        if number == 0:
            table.append(timed(whole_table, as_files(*data), samples)[0])
    ratio = np.median(np.divide(theirs, mine))
    print(
        f"{images:>8}{len(np.unique(data[0])):>10}{np.median(mine):>10.2f}{table[0]:>14.2f}"
        f"{np.median(theirs):>18.1f}{ratio:>8.1f}"
    )
    what = f"AUROC of {images} images, {samples} bootstrap samples"
    lines.add(to, what, "s", np.median(mine), np.median(theirs), "scikit-learn in a loop", ratio)
    values = np.concatenate(drawn)
    low, high = np.transpose(intervals)
    inside = np.mean(((values >= low) & (values <= high))[np.isfinite(values)])
    error = np.sqrt(CONFIDENCE * (1 - CONFIDENCE) / values.size)
    spread = np.nanstd([estimate.samples for estimate in estimates], axis=1)
    # standard errors of a standard deviation estimated from this many samples
    off = (np.nanstd(values, axis=0, ddof=1) / spread - 1) / np.sqrt(1 / (2 * len(values)) + 1 / (2 * samples))
    on_data, on_resamples = largest_difference(data, estimates, checked=3)
    print(f"{'':8}largest difference of an AUROC: {on_data:.1e} on the data, {on_resamples:.1e} on the same resamples")
    print(
        f"{'':8}our {CONFIDENCE:.0%} intervals hold {inside:.1%} of the loop's {len(values)} x {len(LABELS)} AUROCs (sampling "
        f"error {error:.1%}); their spread is off by at most {np.abs(off).max():.1f} sampling errors, of {len(LABELS)} labels"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[2560, TEST_IMAGES])
    parser.add_argument("--samples", type=int, default=1000, help="bootstrap samples of ours")
    parser.add_argument("--loops", type=int, default=30, help="samples of the loop, scaled up to those of ours")
    lines.option(parser)
    options = parser.parse_args()
    print(
        f"{options.samples} bootstrap samples of patients, {len(LABELS)} labels; seconds, medians of {ROUNDS} rounds in"
    )
    print(f"turn; the loop ran {max(1, options.loops // ROUNDS)} samples a round, scaled up to {options.samples}")
    print(f"{'images':>8}{'patients':>10}{'ours':>10}{'whole table':>14}{'loop, scaled up':>18}{'ratio':>8}")
    for images in options.images:
        compare(images, options.samples, options.loops, options.lines)


if __name__ == "__main__":
    main()
