"""Which choices of transfer learning collapse to the majority classifier: one row per job, from the jobs' files.

Nothing is trained or loaded here; each job measured while it ran why it collapsed (see `probe`).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cxr.data import splits
from cxr.labels import FINDINGS, to_matrix
from cxr.metrics import classification, constants
from cxr.metrics.judging import BETTER
from cxr.report.figures import charts
from cxr.runtime.jobs import Job
from cxr.runtime.journal import Journal

LIKE_MAJORITY = 0.001  # largest share of image-label decisions that differ from the majority classifier's
COLLAPSED, HIDDEN, GUESSING, LEARNED = "collapsed", "ranks only", "guesses", "learned"
METRICS = (("auroc", "mean14"), ("accuracy", ""), ("loss", ""))
ESTIMATES = ("value", "low", "high", "floor", "difference", "difference_low", "difference_high")


@dataclass(frozen=True)
class Compared:
    """A job of the comparison, (head_input, frozen_batchnorm, layers, size), and its files: predictions and scores (metric
    table) of its test images, its facts, and its training and test splits."""

    job: tuple[str, str, int, int]
    predictions: Path
    facts: Path
    scores: Path
    train: Path
    test: Path

    @classmethod
    def of(cls, job: Job) -> "list[Compared]":
        """Return those of a workflow's job."""
        given = job.input
        files = zip(given.predictions, given.facts, given.scores, given.train, given.test, strict=True)
        return [cls(tuple(each), *map(Path, paths)) for each, paths in zip(job.params.jobs, files, strict=True)]


def write(*, compared: Sequence[Compared], table: Path, picture: Path, tell: Journal) -> None:
    """Write the table of a protocol's comparison, one row per job, and its figure."""
    names = ("head_input", "frozen_batchnorm", "layers", "size")
    found = pd.DataFrame([dict(zip(names, each.job, strict=True)) | _row(each) for each in compared])
    found.to_csv(table, index=False, float_format="%.6g")
    picture.write_bytes(charts.collapse_chart(found))
    for row in found.itertuples():
        tell(
            f"{row.head_input}, {row.frozen_batchnorm}, c = {row.layers}, s = {row.size}: {row.verdict}; "
            f"AUROC {row.auroc:.3f}, {row.unlike_majority:.2%} of the decisions differ from the majority classifier's"
        )


def _row(files: Compared) -> dict[str, Any]:
    truth = splits.read_split(files.test)
    majority = constants.fit_classification(to_matrix(splits.read_split(files.train)["labels"])).majority
    probabilities = classification.aligned_probabilities(pd.read_csv(files.predictions), truth, str(files.predictions))
    found = pd.read_csv(files.scores, keep_default_na=False, na_values={name: [""] for name in ESTIMATES})
    sample = {"test_images": len(truth), "test_patients": truth["patient"].nunique()}
    sample["test_positives"] = int(to_matrix(truth["labels"])[:, : len(FINDINGS)].sum())
    row: dict[str, Any] = {**sample, **decisions(probabilities, majority)}
    for metric, label in METRICS:
        mine = found[(found["metric"] == metric) & (found["label"] == label)].iloc[0]
        row |= {metric if name == "value" else f"{metric}_{name}": mine[name] for name in (*ESTIMATES, "verdict")}
    run = json.loads(files.facts.read_text(encoding="utf-8"))
    for when, numbers in run["added_layer"].items():
        row |= {f"{name}_{when}": value for name, value in numbers.items()}
    return row | {"reach": reach(run), "verdict": verdict(row)}


def reach(run: Mapping[str, Any]) -> float:
    """Return how far training the added layer alone could move the images' logits apart; NaN if unknown.

    run: facts of the job. Adam moves a weight by about the learning rate per step, whatever the gradient's size: steps ×
    learning rate × deviation of the layer's input (before training). Compare it with the absolute logit of a label's
    prevalence: 2.9 for a label that one image in twenty has.
    """
    schedule = run["settings"]
    if schedule["optimizer"] == "sgd":
        return float("nan")
    return run["steps"] * schedule["learning_rate"] * run["added_layer"]["before"]["input_deviation"]


def decisions(probabilities: np.ndarray, majority: np.ndarray) -> dict[str, float]:
    """Compare a model's decisions and probabilities (N, 15) with the majority classifier's constant (15,).

    - unlike_majority: share of the image-label decisions (probability above 0.5) that are not the majority's.
    - probability_spread: standard deviation over the images of a label's probability, mean over labels; 0 for a model
      that predicts the same for every image.
    """
    return {
        "unlike_majority": float(((probabilities > 0.5) != majority).mean()),
        "probability_spread": float(probabilities.std(axis=0).mean()),
    }


def verdict(row: Mapping[str, Any]) -> str:
    """Return the outcome of a model, by two questions: does it decide as the majority classifier does (except for
    LIKE_MAJORITY of the decisions), and does it rank images better than its floor (the verdict on its mean AUROC over the 14
    findings)?

    COLLAPSED: decides as the majority, ranks no better than the floor. HIDDEN: decides as the majority, but ranks better
    than the floor: what it learned does not reach the threshold 0.5, so no accuracy shows it. GUESSING: decides differently,
    ranks no better than the floor. LEARNED: decides differently, ranks better than the floor.
    """
    ranks = row["auroc_verdict"] == BETTER
    if row["unlike_majority"] <= LIKE_MAJORITY:
        return HIDDEN if ranks else COLLAPSED
    return LEARNED if ranks else GUESSING
