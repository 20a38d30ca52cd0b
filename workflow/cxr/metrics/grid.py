"""The grid of (c, s) pairs: validation scores beside the majority classifier's, their spread, and the best pairs."""

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from cxr.data import splits
from cxr.labels import FINDINGS, LABELS, to_matrix
from cxr.metrics import chance, constants, spread
from cxr.runtime.jobs import Job

TRAINING_COLUMNS = [
    "layers", "size", "draw", "seed", "gain", "accuracy", "majority_accuracy", "categorical_accuracy",
    "majority_categorical_accuracy", "no_finding_accuracy", "majority_no_finding_accuracy", "auroc", "auroc_labels",
    "validation_images", "validation_patients", "validation_positives", "training_images", "seconds",
]  # fmt: skip
ACCURACIES = [before + name for name in chance.ACCURACIES for before in ("", "majority_")]
SCORES = [*ACCURACIES, "auroc", "seconds"]  # of which a pair has the mean over its draws
DISTANCES = ["behind", "behind_low", "behind_high", "p_behind"]
COUNTS = ["auroc_labels", "validation_images", "validation_patients", "validation_positives", "training_images"]


@dataclass(frozen=True)
class Training:
    """A training of a pair: number of its draw of training images, and of its seed; 0 is the first of each.

    predictions: of its validation images. facts: of the job. train, validation: split files.
    """

    layers: int
    size: int
    draw: int
    seed: int
    predictions: Path
    facts: Path
    train: Path
    validation: Path

    @classmethod
    def of(cls, job: Job) -> "list[Training]":
        """Return those of a workflow's job, whose files are in the order of its param `trained`: layers, size, draw, seed."""
        given = job.input
        files = zip(given.predictions, given.facts, given.train, given.validation, strict=True)
        return [cls(*each, *map(Path, paths)) for each, paths in zip(job.params.trained, files, strict=True)]


@dataclass(frozen=True)
class Judged:
    """A training's scores on its validation images.

    row: columns ``TRAINING_COLUMNS``. aurocs: (15,), NaN where undefined. influence: of each patient on the gain and on each
    label's AUROC (columns gain and the labels, index patient). majority: what the majority classifier has right
    (``chance.pool``).
    """

    row: Mapping[str, float]
    aurocs: np.ndarray
    influence: pd.DataFrame
    majority: pd.DataFrame

    def variance(self, metric: str) -> float:
        """Return the variance of a score (gain, or auroc: the mean over the defined labels) over samples of patients."""
        labels = [label for label, value in zip(LABELS, self.aurocs, strict=True) if np.isfinite(value)]
        of_mean = self.influence["gain"] if metric == "gain" else self.influence[labels].mean(axis=1)
        return float((of_mean**2).sum() * len(of_mean) / max(len(of_mean) - 1, 1))


def judge(training: Training, read: Callable[[Path], pd.DataFrame]) -> Judged:
    """Score a training's predictions of its validation images; read: reads a split file."""
    truth = read(training.validation)
    targets = to_matrix(truth["labels"])
    confidences = pd.read_csv(training.predictions).set_index("image").loc[truth["image"], list(LABELS)].to_numpy()
    constant = constants.fit_classification(to_matrix(read(training.train)["labels"]))
    right, floor = (confidences > 0.5) == targets, constant.majority == targets
    ours = chance.accuracies(right, confidences.argmax(axis=1), targets)
    theirs = chance.accuracies(floor, constant.first_label, targets)
    influence = {"gain": spread.influence_of_mean(right.mean(axis=1) - floor.mean(axis=1))[1]}
    aurocs = np.full(len(LABELS), np.nan)
    for label, name in enumerate(LABELS):
        aurocs[label], influence[name] = spread.influence_of_auroc(targets[:, label], confidences[:, label])
    run = json.loads(training.facts.read_text(encoding="utf-8"))
    defined = np.isfinite(aurocs)
    row = {
        "layers": training.layers,
        "size": training.size,
        "draw": training.draw,
        "seed": training.seed,
        "gain": float(right.mean()) - float(floor.mean()),
        **dict(zip(ACCURACIES, np.stack([ours, theirs], axis=2).mean(axis=0).ravel().tolist(), strict=True)),
        "auroc": float(aurocs[defined].mean()) if defined.any() else float("nan"),
        "auroc_labels": int(defined.sum()),
        "validation_images": len(truth),
        "validation_patients": truth["patient"].nunique(),
        "validation_positives": int(targets[:, : len(FINDINGS)].sum()),
        "training_images": run["training_images"],
        "seconds": run["seconds"],
    }
    patients = truth["patient"].to_numpy()
    by_patient = pd.DataFrame(influence).groupby(patients).sum()
    return Judged(row, aurocs, by_patient, chance.pool(patients, theirs))


@dataclass(frozen=True)
class Outputs:
    """The tables of a grid; schemas in docs/files.md."""

    trainings: Path
    grid: Path
    selected: Path
    spread: Path
    chance: Path


def write_grid(
    trainings: Sequence[Training],
    *,
    select_by: Literal["accuracy", "auroc"],
    select: int,
    confidence: float,
    outputs: Outputs,
) -> None:
    """Write one row per training, one per pair (grid), the `select` best pairs, what the scores spread by, and the best
    lead over the majority classifier beside what chance gives (``chance.chance_table``, of each pair's first training).

    accuracy is binary accuracy on the pair's validation images; majority_accuracy is that of the majority classifier of
    its training images on the same images; gain is the difference. A pair's scores are means over its draws of training
    images. Of equal gains the larger size comes first, then the fewer layers; ties is how many other pairs of the grid have
    the same gain. An undefined gain ties with none. Source: paper, section 2.2.
    """
    read = functools.cache(splits.read_split)  # trainings of one size share their splits
    judged = [judge(each, read) for each in trainings]
    table = pd.DataFrame([each.row for each in judged], columns=TRAINING_COLUMNS)
    table.sort_values(["layers", "size", "seed", "draw"]).to_csv(outputs.trainings, index=False, float_format="%.6g")
    grid = _pairs(table)
    metric = "gain" if select_by == "accuracy" else "auroc"
    # rounded: equal gains over different majorities differ in their last digits and would not tie
    score = (grid["accuracy"] - grid["majority_accuracy"] if metric == "gain" else grid["auroc"]).round(12)
    others = score.map(score.value_counts()).fillna(1).astype(int) - 1
    ranked = grid.assign(score=score, ties=others).sort_values(
        ["score", "size", "layers"], ascending=[False, False, True]
    )
    best = ranked.head(select).assign(rank=range(1, min(select, len(ranked)) + 1))[["layers", "size", "rank", "ties"]]
    best.to_csv(outputs.selected, index=False)
    distances = _distances(grid, judged, metric, int(ranked.index[0]), confidence)
    grid.join(distances).to_csv(outputs.grid, index=False, float_format="%.6g")
    _spread(table, judged, confidence).to_csv(outputs.spread, index=False, float_format="%.6g")
    first = table[(table["draw"] == 0) & (table["seed"] == 0)]
    pools = {int(each.row["size"]): each.majority for each in judged if not each.row["draw"]}
    chance.chance_table(first, pools, confidence).to_csv(outputs.chance, index=False, float_format="%.6g")


def _pairs(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row per pair: means over its draws, their number and standard deviation."""
    pairs = table[table["draw"] == table["seed"]].groupby(["layers", "size"])
    deviations = pairs[["gain", "auroc"]].std(ddof=1).add_suffix("_sd")
    repeats = pairs.size().rename("repeats")
    return pairs[SCORES].mean().join([pairs[COUNTS].first(), repeats, deviations]).reset_index()


def _distances(grid: pd.DataFrame, judged: Sequence[Judged], metric: str, best: int, confidence: float) -> pd.DataFrame:
    """Return how far each pair is behind the best one (``spread.behind_best``), columns ``DISTANCES``, rows as in `grid`.

    An AUROC is the mean over the labels that every training defines: means over different labels could not be compared.
    """
    repeats = int(grid["repeats"].max())
    repeated = [each for each in judged if each.row["draw"] == each.row["seed"]]
    common = np.all([np.isfinite(each.aurocs) for each in repeated], axis=0)
    if repeats < 2 or (metric == "auroc" and not common.any()):
        return pd.DataFrame(np.nan, index=grid.index, columns=DISTANCES)
    labels = [label for label, use in zip(LABELS, common, strict=True) if use]
    rows = {pair: row for row, pair in enumerate(grid[["layers", "size"]].itertuples(index=False, name=None))}
    scores = np.empty((len(grid), repeats))
    influences: dict[int, pd.Series] = {}
    for each in repeated:
        row = rows[each.row["layers"], each.row["size"]]
        scores[row, each.row["draw"]] = each.row["gain"] if metric == "gain" else each.aurocs[common].mean()
        mine = (each.influence["gain"] if metric == "gain" else each.influence[labels].mean(axis=1)) / repeats
        influences[row] = influences[row] + mine if row in influences else mine
    influence = pd.concat([influences[row] for row in range(len(grid))], axis=1).fillna(0).to_numpy()
    found = spread.behind_best(scores, grid["size"].to_numpy(), influence, best, confidence)
    return pd.DataFrame(found, index=grid.index)[list(found)].set_axis(DISTANCES, axis=1)


def _spread(table: pd.DataFrame, judged: Sequence[Judged], confidence: float) -> pd.DataFrame:
    """Return the spread of each size's scores by source, for both metrics; columns ``spread.SPREAD_COLUMNS``."""
    rows = []
    for metric in ("gain", "auroc"):
        values = table.rename(columns={metric: "value", "validation_patients": "patients"})
        values = values.assign(variance=[each.variance(metric) for each in judged])
        for size, mine in values.groupby("size"):
            if np.isfinite(mine["value"]).all():
                rows += [{"size": size, "metric": metric, **row} for row in spread.components(mine, confidence)]
    return pd.DataFrame(rows, columns=spread.SPREAD_COLUMNS)
