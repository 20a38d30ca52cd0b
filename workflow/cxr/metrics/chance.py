"""What chance alone gives the best pair of a grid: its lead over the majority classifier if every pair is that classifier.

A majority classifier's lead over itself is 0 on the same images. The simulation is as kind to chance as a report of a
grid can be: each pair is scored on validation images drawn anew, and its majority classifier on another draw.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from cxr.labels import LABELS, NO_FINDING

ACCURACIES = ("accuracy", "categorical_accuracy", "no_finding_accuracy")
CHANCE_COLUMNS = [
    "scope", "metric", "pairs", "best", "layers", "size", "chance", "high", "highest", "p", "draws",
    "validation_images", "validation_patients",
]  # fmt: skip
WHOLE_GRID = "grid"
DRAWS = 1_000  # of the whole grid
CHUNK = 2_000_000  # drawn patients held at once


def chance_table(grid: pd.DataFrame, pools: Mapping[int, pd.DataFrame], confidence: float) -> pd.DataFrame:
    """Return the best lead of the grid, and of each size, beside what chance gives the best; columns ``CHANCE_COLUMNS``.

    grid: a row per pair with layers, size, and for each of ``ACCURACIES`` the column and the one of its majority classifier
    (``majority_`` before the name), as fractions. pools: size → a row per validation patient: of the majority classifier's
    decisions the sum over the patient's images of each accuracy, and `images`.

    scope: `WHOLE_GRID` or a size. best: the largest lead of a pair, which is that of layers and size. chance, high, highest:
    mean, upper end of the interval and largest value of the simulated best lead. p: share of the draws, the observed one
    included, with a best lead at least as large.
    """
    random = np.random.default_rng(0)
    drawn = {size: leads(pools[size], len(pairs), DRAWS, random) for size, pairs in grid.groupby("size")}
    rows = []
    for scope in [WHOLE_GRID, *drawn]:
        sizes = [*drawn] if scope == WHOLE_GRID else [scope]
        pairs = grid[grid["size"].isin(sizes)]
        images = [int(pools[size]["images"].sum()) for size in sizes]
        for number, metric in enumerate(ACCURACIES):
            lead = pairs[metric] - pairs[f"majority_{metric}"]
            first = pairs.iloc[int(lead.argmax())]
            best = np.max([drawn[size][:, :, number].max(axis=1) for size in sizes], axis=0)
            rows.append(
                {
                    "scope": str(scope),
                    "metric": metric,
                    "pairs": len(pairs),
                    "best": lead.max(),
                    "layers": int(first["layers"]),
                    "size": int(first["size"]),
                    "chance": best.mean(),
                    "high": np.quantile(best, (1 + confidence) / 2),
                    "highest": best.max(),
                    "p": (1 + (best >= lead.max() - 1e-12).sum()) / (1 + DRAWS),
                    "draws": DRAWS,
                    "validation_images": max(images),
                    "validation_patients": max(len(pools[size]) for size in sizes),
                }
            )
    return pd.DataFrame(rows, columns=CHANCE_COLUMNS)


def leads(pool: pd.DataFrame, pairs: int, draws: int, random: np.random.Generator) -> np.ndarray:
    """Draw the leads of a majority classifier over itself on two independent samples of patients.

    pool: as in `chance_table`. Returns (draws, pairs, 3): for each draw and pair the lead in each of ``ACCURACIES``.
    """
    values = pool[[*ACCURACIES, "images"]].to_numpy(np.float64)
    found = _means(values, draws * pairs, random) - _means(values, draws * pairs, random)
    return found.reshape(draws, pairs, len(ACCURACIES))


def _means(values: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Return the accuracies, (count, 3), of so many samples of patients, each as large as their number."""
    rows = max(1, CHUNK // len(values))
    sums = []
    for start in range(0, count, rows):
        drawn = random.integers(len(values), size=(min(rows, count - start), len(values)))
        sums.append(np.stack([column[drawn].sum(axis=1) for column in values.T], axis=1))
    totals = np.concatenate(sums)
    return totals[:, :-1] / totals[:, -1:]


def accuracies(right: np.ndarray, first: np.ndarray | int, targets: np.ndarray) -> np.ndarray:
    """Return what is right on each image, (N, 3), in the order of ``ACCURACIES``.

    right: (N, 15) bool, decisions at 0.5. first: label with the highest output, (N,) or the same for all. The categorical
    accuracy takes the image's first label for its only one, as Keras' argmax does.
    """
    of_none = right[:, LABELS.index(NO_FINDING)]
    return np.stack([right.mean(axis=1), first == targets.argmax(axis=1), of_none], axis=1).astype(np.float64)


def pool(patients: Sequence[object], right: np.ndarray) -> pd.DataFrame:
    """Sum what is right by patient. patients: (N,) of the images. right: (N, 3) share of the decisions on an image that are
    right, in the order of ``ACCURACIES``."""
    table = pd.DataFrame(right, columns=list(ACCURACIES)).assign(images=1.0)
    return table.groupby(np.asarray(patients)).sum()
